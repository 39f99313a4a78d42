/*
 * Disk images of all kinds, for tests of the ways that data takes
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef P2P_TESTS_IMAGE_H
#define P2P_TESTS_IMAGE_H

typedef struct ImageKind {
    const char *name;
    /* What query-p2p is to say of a drive that has it. */
    const char *data_path;

    /* How qemu-img makes it from a raw file; NULL: it is one */
    const char *convert;
    /* What qemu-img needs in front of its arguments; or NULL */
    const char *secret;
    /* The image as block drivers see it; %s is the file */
    const char *image;
    /* What else is on QEMU's command line; or NULL */
    const char *objects;
    /* The node "disk" on top of the image, if that is not it; or NULL */
    const char *filter;
} ImageKind;

/* All there are; the last one has no name. */
extern const ImageKind image_kinds[];

typedef struct Image {
    const ImageKind *kind;
    char *file;
} Image;

const ImageKind *image_kind(const char *name);

/*
 * image_new: an image that holds @size bytes of @data.
 *
 * Returns NULL, with @why, if this build or this machine cannot have it; the
 * caller frees @why.
 */
Image *image_new(const ImageKind *kind, const void *data, size_t size,
                 char **why);

/* image_free: and remove the file. */
void image_free(Image *image);

/* image_options: command line for the node "disk"; the caller frees it. */
char *image_options(const Image *image);

/* image_read: what is in it, @size bytes, which the caller frees. */
void *image_read(const Image *image, size_t size);

#endif /* P2P_TESTS_IMAGE_H */
