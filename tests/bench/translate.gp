# SPDX-License-Identifier: GPL-2.0-or-later
#
# Time of an entry, against the number of windows and the length of the vector;
# run by tests/bench/run, where the data are.

set terminal svg size 760,460 font "sans-serif,13" background "white"
set logscale xy
set grid
set key outside right top
set ylabel "ns for an entry"

set output "translate-windows.svg"
set title "Vectors of 256 entries of 4 KiB"
set xlabel "windows"
set xrange [1:65536]
plot "rand4k-w.dat" with linespoints lw 2 title "qemu-p2p, random", \
     "seq4k-w.dat" with linespoints lw 2 title "qemu-p2p, sequential", \
     "libvfio-user.dat" with linespoints title "libvfio-user", \
     "libvhost-user.dat" with linespoints title "libvhost-user", \
     "dpdk-vhost.dat" with linespoints title "DPDK vhost", \
     "qemu-address_space_translate.dat" with linespoints title "QEMU"

set output "translate-length.svg"
set title "64 windows, entries of 4 KiB"
set xlabel "entries in a vector"
set xrange [1:4096]
plot "rand4k-n.dat" with linespoints lw 2 title "qemu-p2p, random", \
     "seq4k-n.dat" with linespoints lw 2 title "qemu-p2p, sequential"
