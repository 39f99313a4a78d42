/*
 * What the metadata of a domain say of p2p-groups
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <string.h>
#include <gio/gio.h>
#include <libxml/relaxng.h>
#include "tool.h"
#include "xml.h"

#define NS P2P_DOMAIN_NAMESPACE
#define SCHEMA "/org/qemu-p2p/p2p-domain.rng"

/* Some of libxml2's messages: the rest are about what follows from them. */
#define MAX_MESSAGES 3

/* More devices than a machine has room for, and their records */
#define MAX_ELEMENTS 1024u

void xml_changed(GPtrArray *changes, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    g_ptr_array_add(changes, g_strdup_vprintf(format, ap));
    va_end(ap);
}

/* --- Validation ---------------------------------------------------------- */

typedef struct Messages {
    GString *text;
    unsigned n;
} Messages;

#if LIBXML_VERSION >= 21200
static void collect(void *opaque, const xmlError *e)
#else
static void collect(void *opaque, xmlError *e)
#endif
{
    Messages *messages = opaque;

    if (!e->message || messages->n++ >= MAX_MESSAGES) {
        return;
    }
    g_string_append_printf(messages->text, "%sline %d: %s",
                           messages->text->len ? "; " : "", e->line,
                           e->message);
    while (g_str_has_suffix(messages->text->str, "\n")) {
        g_string_truncate(messages->text, messages->text->len - 1);
    }
}

static xmlRelaxNG *load_schema(void)
{
    g_autoptr(GBytes) bytes = g_resources_lookup_data(SCHEMA, 0, NULL);
    xmlRelaxNGParserCtxt *parser;
    xmlRelaxNG *schema;

    g_assert(bytes);
    parser = xmlRelaxNGNewMemParserCtxt(g_bytes_get_data(bytes, NULL),
                                        g_bytes_get_size(bytes));
    schema = xmlRelaxNGParse(parser);
    xmlRelaxNGFreeParserCtxt(parser);
    g_assert(schema);
    return schema;
}

static bool fits_schema(xmlNode *node, GError **error)
{
    xmlRelaxNG *schema = load_schema();
    xmlRelaxNGValidCtxt *context = xmlRelaxNGNewValidCtxt(schema);
    g_autoptr(XmlDoc) doc = xmlNewDoc(BAD_CAST "1.0");
    g_autoptr(GString) text = g_string_new(NULL);
    Messages messages = { .text = text };
    bool fits;

    /* Copies keep the numbers of their lines. */
    xmlDocSetRootElement(doc, xmlDocCopyNode(node, doc, 1));
    xmlRelaxNGSetValidStructuredErrors(context, collect, &messages);
    fits = xmlRelaxNGValidateDoc(context, doc) == 0;
    xmlRelaxNGFreeValidCtxt(context);
    xmlRelaxNGFree(schema);
    if (!fits) {
        g_set_error(error, XML_ERROR, 0, "%s%sp2p-domain.rng is the schema of "
                    "the metadata", text->str, text->len ? "; " : "");
    }
    return fits;
}

#define SHARE_SIZE "(0[xX][0-9a-fA-F]+|[0-9]+[bBkKmMgGtTpPeE]?)"
#define SHARE_ITEM "bar[0-5](:r[ow])?(@" SHARE_SIZE "-" SHARE_SIZE ")?"

/* Of the values that are often wrong, better told than by a schema. */
typedef struct ValueRule {
    const char *element, *attribute;
    const char *pattern;
    const char *rule;
} ValueRule;

static const ValueRule value_rules[] = {
    { "group", "name", "^[a-zA-Z][a-zA-Z0-9_.-]*$",
      "it becomes an id of QEMU: a letter, then letters, digits, - . _" },
    { "group", "policy", "^(auto|require)$", "it is auto or require" },
    { "group", "bus-address", "^(off|on)$", "it is on or off" },
    { "member", "alias", "^ua-[a-zA-Z0-9_-]+$",
      "libvirt keeps aliases of the form ua-NAME only; give the device "
      "<alias name='ua-NAME'/>, and name that" },
    { "member", "initiate", "^(yes|no)$", "it is yes or no" },
    { "member", "share", "^(auto|none|" SHARE_ITEM "(\\+" SHARE_ITEM ")*)$",
      "it is auto, none, or a list of barN[:ro|:rw][@OFFSET-END] joined by +" },
};

static bool check_values(const xmlNode *node, GError **error)
{
    for (size_t i = 0; i < G_N_ELEMENTS(value_rules); i++) {
        const ValueRule *rule = &value_rules[i];
        g_autofree char *value = NULL;

        if (!xml_is(node, NS, rule->element)) {
            continue;
        }
        value = xml_attribute(node, rule->attribute);
        if (value && !g_regex_match_simple(rule->pattern, value,
                                           G_REGEX_DOLLAR_ENDONLY, 0)) {
            xml_error(error, node, "<%s %s='%.80s'>: %s", rule->element,
                      rule->attribute, value, rule->rule);
            return false;
        }
    }
    if (xml_is(node, NS, "group") && !xml_child(node, NS, "member")) {
        xml_error(error, node, "<group> has no <member>");
        return false;
    }
    for (xmlNode *child = xml_child(node, NS, NULL); child;
         child = xml_next(child, NS, NULL)) {
        if (!check_values(child, error)) {
            return false;
        }
    }
    return true;
}

/* Each of these costs a walk through the domain. */
static bool check_number(const xmlNode *node, unsigned *left, GError **error)
{
    if (*left == 0) {
        xml_error(error, node, "the metadata have more than %u elements",
                  MAX_ELEMENTS);
        return false;
    }
    --*left;
    for (xmlNode *n = node->children; n; n = n->next) {
        if (n->type == XML_ELEMENT_NODE && !check_number(n, left, error)) {
            return false;
        }
    }
    return true;
}

bool xml_metadata_check(xmlNode *node, GError **error)
{
    unsigned left = MAX_ELEMENTS;

    return check_number(node, &left, error) && check_values(node, error) &&
           fits_schema(node, error);
}

/* --- Finding ------------------------------------------------------------- */

/* The declaration of our namespace, which a parent has, too */
static void drop_declaration(xmlNode *node)
{
    xmlNs **link = &node->nsDef;

    while (*link) {
        xmlNs *ns = *link;

        if (strcmp((const char *)ns->href, NS) == 0) {
            *link = ns->next;
            xmlFreeNs(ns);
        } else {
            link = &ns->next;
        }
    }
}

/* @node goes one level down: @ns is that of its parent. */
static void move_down(xmlNode *node, xmlNs *ns)
{
    if (node->type == XML_TEXT_NODE && xmlIsBlankNode(node) &&
        strchr((const char *)node->content, '\n')) {
        xmlNodeAddContent(node, BAD_CAST "  ");
    }
    if (xml_is(node, NS, NULL)) {
        node->ns = ns;
        for (xmlNode *n = node->children; n; n = n->next) {
            move_down(n, ns);
        }
        drop_declaration(node);
    }
}

xmlNode *xml_wrap_groups(xmlNode *metadata)
{
    xmlNode *group = xml_child(metadata, NS, "group");
    xmlNode *groups = xml_insert_before(group, group->ns, "groups");
    xmlNs *ns = xmlNewNs(groups, BAD_CAST NS, group->ns->prefix);

    xmlSetNs(groups, ns);
    while (group) {
        xmlNode *next = xml_next(group, NS, "group");
        xmlNode *place = xml_append(groups, ns, "group");
        xmlNode *copy = xmlDocCopyNode(group, group->doc, 1);

        xmlReplaceNode(place, copy);
        xmlFreeNode(place);
        move_down(copy, ns);
        xml_remove(group);
        group = next;
    }
    return groups;
}

/*
 * <groups>, or NULL: without @error, if there are no metadata of ours.
 */
static xmlNode *find_groups(XmlDoc *doc, GPtrArray *changes, GError **error)
{
    xmlNode *metadata = xml_child(xmlDocGetRootElement(doc), NULL, "metadata");
    xmlNode *node = xml_child(metadata, NS, NULL);
    bool bare = node && xml_is(node, NS, "group");

    for (xmlNode *n = node; n; n = xml_next(n, NS, NULL)) {
        if (!xml_is(n, NS, "group") && !xml_is(n, NS, "groups")) {
            xml_error(error, n, "<%s> in the metadata: there are <groups> and "
                      "<group> only", n->name);
            return NULL;
        }
        if (n != node && (!bare || !xml_is(n, NS, "group"))) {
            xml_error(error, n, "<metadata> has more than <groups>; put all "
                      "groups into one <groups>: libvirt keeps only one "
                      "element of a namespace");
            return NULL;
        }
        if (!xml_metadata_check(n, error)) {
            return NULL;
        }
    }
    if (bare) {
        xml_changed(changes, "the metadata's groups are not in <groups>");
        return xml_wrap_groups(metadata);
    }
    return node;
}

/* --- Reading ------------------------------------------------------------- */

static void group_free(void *opaque)
{
    XmlGroup *group = opaque;

    g_free(group->name);
    g_free(group->policy);
    g_free(group->bus_address);
    g_free(group);
}

static void member_free(void *opaque)
{
    XmlMember *member = opaque;

    g_free(member->alias);
    g_free(member->share);
    g_free(member);
}

static void record_free(void *opaque)
{
    XmlRecord *record = opaque;

    g_free(record->alias);
    g_free(record);
}

void xml_metadata_free(XmlMetadata *metadata)
{
    g_ptr_array_unref(metadata->groups);
    g_ptr_array_unref(metadata->members);
    g_ptr_array_unref(metadata->objects);
    g_ptr_array_unref(metadata->records);
    g_free(metadata);
}

static void read_generated(XmlMetadata *metadata)
{
    xmlNode *generated = xml_child(metadata->node, NS, "generated");

    for (xmlNode *n = xml_child(generated, NS, "object"); n;
         n = xml_next(n, NS, "object")) {
        g_ptr_array_add(metadata->objects, xml_attribute(n, "id"));
    }
    for (xmlNode *n = xml_child(generated, NS, "device"); n;
         n = xml_next(n, NS, "device")) {
        XmlRecord *record = g_new0(XmlRecord, 1);

        record->alias = xml_attribute(n, "alias");
        record->port = xml_attribute_number(n, "port");
        g_ptr_array_add(metadata->records, record);
    }
}

static XmlMember *read_member(xmlNode *node, const XmlGroup *group,
                              const XmlMetadata *metadata)
{
    XmlMember *member = g_new0(XmlMember, 1);
    g_autofree char *initiate = xml_attribute(node, "initiate");

    member->node = node;
    member->group = group->name;
    member->alias = xml_attribute(node, "alias");
    member->share = xml_attribute(node, "share");
    member->initiate = initiate ? strcmp(initiate, "yes") == 0 : -1;
    member->port = -1;
    for (guint i = 0; i < metadata->records->len; i++) {
        const XmlRecord *record = metadata->records->pdata[i];

        if (strcmp(record->alias, member->alias) == 0) {
            member->port = record->port;
        }
    }
    return member;
}

static bool read_members(XmlMetadata *metadata, xmlNode *node,
                         const XmlGroup *group, GHashTable *members,
                         GError **error)
{
    for (xmlNode *n = xml_child(node, NS, "member"); n;
         n = xml_next(n, NS, "member")) {
        XmlMember *member = read_member(n, group, metadata);
        const XmlMember *other = g_hash_table_lookup(members, member->alias);

        g_ptr_array_add(metadata->members, member);
        if (other) {
            xml_error(error, n, "%s is a member already, of %s, see line %ld; "
                      "a device is in one group only", member->alias,
                      other->group, xmlGetLineNo(other->node));
            return false;
        }
        g_hash_table_insert(members, member->alias, member);
    }
    return true;
}

static bool read_groups(XmlMetadata *metadata, GError **error)
{
    g_autoptr(GHashTable) members = g_hash_table_new(g_str_hash, g_str_equal);
    g_autoptr(GHashTable) names = g_hash_table_new(g_str_hash, g_str_equal);

    for (xmlNode *n = xml_child(metadata->node, NS, "group"); n;
         n = xml_next(n, NS, "group")) {
        XmlGroup *group = g_new0(XmlGroup, 1);
        const xmlNode *other;

        group->name = xml_attribute(n, "name");
        group->policy = xml_attribute(n, "policy");
        group->bus_address = xml_attribute(n, "bus-address");
        g_ptr_array_add(metadata->groups, group);
        other = g_hash_table_lookup(names, group->name);
        if (other) {
            xml_error(error, n, "there is a group %s already, see line %ld",
                      group->name, xmlGetLineNo(other));
            return false;
        }
        g_hash_table_insert(names, group->name, n);
        if (!read_members(metadata, n, group, members, error)) {
            return false;
        }
    }
    return true;
}

bool xml_is_member(const XmlMetadata *metadata, const char *alias)
{
    for (guint i = 0; i < metadata->members->len; i++) {
        const XmlMember *member = metadata->members->pdata[i];

        if (strcmp(member->alias, alias) == 0) {
            return true;
        }
    }
    return false;
}

XmlMetadata *xml_metadata_new(XmlDoc *doc, GPtrArray *changes, GError **error)
{
    xmlNode *root = xmlDocGetRootElement(doc);
    g_autoptr(XmlMetadata) metadata = g_new0(XmlMetadata, 1);
    g_autoptr(GError) problem = NULL;

    metadata->groups = g_ptr_array_new_with_free_func(group_free);
    metadata->members = g_ptr_array_new_with_free_func(member_free);
    metadata->objects = g_ptr_array_new_with_free_func(g_free);
    metadata->records = g_ptr_array_new_with_free_func(record_free);
    if (!xml_is(root, NULL, "domain")) {
        xml_error(error, root, "<%s> is not a libvirt domain; that begins with "
                  "<domain>", root->name);
        return NULL;
    }
    metadata->node = find_groups(doc, changes, &problem);
    if (problem) {
        g_propagate_error(error, g_steal_pointer(&problem));
        return NULL;
    }
    if (metadata->node) {
        read_generated(metadata);
        if (!read_groups(metadata, error)) {
            return NULL;
        }
    }
    return g_steal_pointer(&metadata);
}
