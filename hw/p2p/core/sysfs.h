/*
 * Reading a sysfs tree that may be anything
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_P2P_CORE_SYSFS_H
#define HW_P2P_CORE_SYSFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <glib.h>

/*
 * p2p_sysfs_read: the first @max bytes of a regular file, with a zero byte
 * behind them, in a buffer that the caller frees; *@size is their number.
 * NULL with *@why ("No such file or directory") if it cannot be read; @why and
 * @size may be NULL.
 */
char *p2p_sysfs_read(const char *path, size_t max, size_t *size, char **why);

/*
 * Replace in @text all that is not printable ASCII by '?': the name of a
 * driver goes to terminals, JSON and logs, which others must not write to.
 */
char *p2p_sysfs_printable(char *text);

/*
 * A short text without the blanks around it, printable, or NULL; the caller
 * frees it.
 */
char *p2p_sysfs_text(const char *folder, const char *name);

/*
 * A number, decimal or with 0x, and nothing else but blanks; false: there is
 * none in the file, or it is above @max.
 */
bool p2p_sysfs_number(const char *folder, const char *name, uint64_t max,
                      uint64_t *value);

/*
 * The last part of a symbolic link's target, printable, or NULL; the caller
 * frees it.
 */
char *p2p_sysfs_link_name(const char *folder, const char *name);

#endif /* HW_P2P_CORE_SYSFS_H */
