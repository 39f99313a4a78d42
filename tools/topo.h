/*
 * The parts of qemu-p2p topo
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef P2P_TOOL_TOPO_H
#define P2P_TOOL_TOPO_H

#include "tool.h"

typedef struct Topo {
    P2PHost *host;
    const GPtrArray *functions;     /* of const P2PFunction */
    const P2PMatrix *matrix;        /* of the functions */
} Topo;

/* In Graphviz's dot language: the tree of ports, and the pairs. For g_free() */
char *topo_dot(const Topo *topo);

/* @dot as SVG on standard output; false: an error was printed. */
bool topo_print_svg(const char *dot);

/* How many pairs there are of each path class and verdict. */
void topo_print_summary(const Topo *topo);

#endif /* P2P_TOOL_TOPO_H */
