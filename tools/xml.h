/*
 * qemu-p2p xml: p2p-groups in the XML of a libvirt domain
 *
 * Metadata of our own namespace say which devices are in which group; from
 * them come the command line, properties and PCI addresses that libvirt and
 * QEMU understand.  Everything that follows changes a document only where it
 * differs from what the metadata ask for, and tells of each change: a document
 * that is up to date stays as it is.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef P2P_TOOL_XML_H
#define P2P_TOOL_XML_H

#include <stdbool.h>
#include <glib.h>
#include <libxml/tree.h>

#define XML_QEMU_NAMESPACE "http://libvirt.org/schemas/domain/qemu/1.0"

/* As much as libvirt takes (its VIR_NET_MESSAGE_STRING_MAX) */
#define XML_MAX_SIZE ((size_t)4 << 20)

/* The VMI annotation of KubeVirt that holds <groups> */
#define XML_VMI_ANNOTATION "qemu-p2p.org/groups"

/* All errors: the message names the line, if there is one. */
#define XML_ERROR (g_quark_from_static_string("qemu-p2p-xml"))

/* --- Documents (xml-doc.c) ----------------------------------------------- */

typedef xmlDoc XmlDoc;
void xml_doc_free(XmlDoc *doc);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(XmlDoc, xml_doc_free)

/*
 * xml_doc_parse: read @text of @size bytes, which may be anything.  Refused
 * are, besides what is not well-formed, document types, and with them all
 * entities, and more than XML_MAX_SIZE bytes.  NULL with @error set.
 */
XmlDoc *xml_doc_parse(const char *text, size_t size, GError **error);

/*
 * xml_doc_text: @doc in UTF-8, as it was laid out; @declaration: with an XML
 * declaration.  The caller frees it.
 */
GString *xml_doc_text(XmlDoc *doc, bool declaration);

/* "line N: ...": what is wrong at @node. */
void G_GNUC_PRINTF(3, 4) xml_error(GError **error, const xmlNode *node,
                                   const char *format, ...);

/*
 * xml_is, xml_child, xml_next: whether @node is an element of that name, the
 * first such child, the next such sibling.  @ns: its namespace, NULL: none.
 * @name: NULL: any.
 */
bool xml_is(const xmlNode *node, const char *ns, const char *name);
xmlNode *xml_child(const xmlNode *parent, const char *ns, const char *name);
xmlNode *xml_next(const xmlNode *node, const char *ns, const char *name);

/* An attribute without namespace, to be freed, or NULL. */
char *xml_attribute(const xmlNode *node, const char *name);
bool xml_attribute_is(const xmlNode *node, const char *name,
                      const char *value);

/*
 * The same, as a number from 0 to INT_MAX (0x... is hexadecimal), or -1: none.
 */
int xml_attribute_number(const xmlNode *node, const char *name);

/*
 * xml_append: make an element as the last child of @parent; xml_insert_before:
 * in front of @sibling.  On a line of its own, if its neighbours are.
 * xml_remove: with the white space in front of it.
 */
xmlNode *xml_append(xmlNode *parent, xmlNs *ns, const char *name);
xmlNode *xml_insert_before(xmlNode *sibling, xmlNs *ns, const char *name);
void xml_remove(xmlNode *node);

/* xml_declare: a namespace as the root element has it, else made there. */
xmlNs *xml_declare(XmlDoc *doc, const char *prefix, const char *href);

/* --- Metadata (xml-metadata.c) ------------------------------------------- */

typedef struct XmlMember {
    char *alias;
    char *share;            /* NULL: not given */
    int initiate;           /* 1 yes, 0 no, -1 not given */
    const char *group;      /* its name */
    xmlNode *node;          /* <member>: for its line */
    xmlNode *device;        /* set by xml_find_devices() */
    int port;               /* root port that was made for it; -1: none */
} XmlMember;

typedef struct XmlGroup {
    char *name;
    char *policy;           /* NULL: not given */
    char *bus_address;      /* the same */
} XmlGroup;

/* A device that was a member when the domain was generated last */
typedef struct XmlRecord {
    char *alias;
    int port;               /* -1: none */
} XmlRecord;

typedef struct XmlMetadata {
    xmlNode *node;          /* <groups>; NULL: the domain has no metadata */
    GPtrArray *groups;      /* of XmlGroup; owned, as all of these */
    GPtrArray *members;     /* of XmlMember, of all groups */
    GPtrArray *objects;     /* of char *: ids generated last */
    GPtrArray *records;     /* of XmlRecord */
} XmlMetadata;

/*
 * xml_metadata_new: find, validate and read the metadata of a domain.  NULL
 * with @error set.  <group> elements without <groups> are put into one; that
 * is told in @changes (of char *).
 */
XmlMetadata *xml_metadata_new(XmlDoc *doc, GPtrArray *changes,
                              GError **error);
void xml_metadata_free(XmlMetadata *metadata);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(XmlMetadata, xml_metadata_free)

/* xml_is_member: whether a device is a member, by its alias. */
bool xml_is_member(const XmlMetadata *metadata, const char *alias);

/* xml_metadata_check: whether <groups> or <group> fits the schema. */
bool xml_metadata_check(xmlNode *node, GError **error);

/*
 * xml_wrap_groups: put the <group> elements of <metadata>, one or more, into
 * one <groups>, which is returned: libvirt keeps the first element of each
 * namespace only.
 */
xmlNode *xml_wrap_groups(xmlNode *metadata);

/*
 * xml_vmi_metadata: put the groups of a KubeVirt VMI, if it has the annotation,
 * into the metadata of the domain, instead of those that are there.
 */
bool xml_vmi_metadata(XmlDoc *doc, const char *vmi, GPtrArray *changes,
                      GError **error);

/* --- Devices and their places (xml-place.c) ------------------------------ */

/*
 * xml_find_devices: set the device of each member; false with @error set, if
 * it has none, or one that cannot be in a group.
 */
bool xml_find_devices(XmlDoc *doc, XmlMetadata *metadata, GError **error);

/*
 * xml_place: give each member that has no PCI address a root port of its own,
 * where the machine has such.  False with @error set: no bus is left, or what
 * the domain names is none.  xml_unplace: take such a port and the address
 * away from devices that are no longer members (@all: from all devices).
 */
bool xml_place(XmlDoc *doc, XmlMetadata *metadata, GPtrArray *changes,
               GError **error);
void xml_unplace(XmlDoc *doc, XmlMetadata *metadata, bool all,
                 GPtrArray *changes);

/* --- All of it (xml-generate.c) ------------------------------------------ */

/*
 * xml_generate: bring the domain up to date with its metadata.  @changes: of
 * char *, what has been changed; nothing, if it was up to date.  False with
 * @error set: the document is of no use any more.
 */
bool xml_generate(XmlDoc *doc, XmlMetadata *metadata, GPtrArray *changes,
                  GError **error);

/*
 * xml_ungenerate: take out what was generated, and the metadata.  False with
 * @error set: the document is as it was.
 */
bool xml_ungenerate(XmlDoc *doc, XmlMetadata *metadata, GPtrArray *changes,
                    GError **error);

void G_GNUC_PRINTF(2, 3) xml_changed(GPtrArray *changes, const char *format,
                                     ...);

#endif /* P2P_TOOL_XML_H */
