# SPDX-License-Identifier: GPL-2.0-or-later
#
# Time of an entry, against the number of windows and the length of the vector;
# run by tests/bench/run, where the data are.

set terminal svg size 760,460 font "sans-serif,13" background "white"
set logscale x 2
set logscale y 10
set xtics (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536)
set grid
set key below
set linetype 5 linecolor rgb "#c06000"
set ylabel "ns for an entry"

set output "translate-windows.svg"
set title "Vectors of 256 entries of 4 KiB"
set xlabel "windows"
set xrange [0.8:80000]
plot "rand4k-w.dat" with linespoints lw 2 title "qemu-p2p, random", \
     "seq4k-w.dat" with linespoints lw 2 title "qemu-p2p, sequential", \
     "libvfio-user.dat" with linespoints title "libvfio-user, random", \
     "libvhost-user.dat" with linespoints title "libvhost-user, random", \
     "dpdk-vhost.dat" with linespoints title "DPDK vhost, random", \
     "qemu-address_space_translate.dat" with linespoints title "QEMU, random"

set output "translate-length.svg"
set title "64 windows, entries of 4 KiB"
set xlabel "entries in a vector"
set xrange [0.8:5000]
plot "rand4k-n.dat" with linespoints lw 2 title "qemu-p2p, random", \
     "seq4k-n.dat" with linespoints lw 2 title "qemu-p2p, sequential"
