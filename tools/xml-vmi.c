/*
 * Groups from the annotations of a KubeVirt virtual machine instance
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <string.h>
#include "json.h"
#include "tool.h"
#include "xml.h"

#define NS P2P_DOMAIN_NAMESPACE

/* Kubernetes' own records of who set which field repeat their nesting. */
#define MAX_DEPTH 128

/* The annotation's text, to be freed; NULL: without @error, there is none. */
static char *find_annotation(const char *vmi, GError **error)
{
    g_autoptr(JsonNode) root = NULL;
    g_autoptr(GError) cause = NULL;
    static const char *const path[] = { "metadata", "annotations",
                                        XML_VMI_ANNOTATION };
    JsonNode *node;

    root = tool_json_parse(vmi, strlen(vmi), MAX_DEPTH, &cause);
    if (!root) {
        g_set_error(error, XML_ERROR, 0, "--vmi: this is %s; it takes the "
                    "JSON of a VirtualMachineInstance", cause->message);
        return NULL;
    }
    node = root;
    for (size_t i = 0; i < G_N_ELEMENTS(path); i++) {
        if (!node || !JSON_NODE_HOLDS_OBJECT(node)) {
            return NULL;
        }
        node = json_object_get_member(json_node_get_object(node), path[i]);
    }
    if (node && json_node_get_value_type(node) != G_TYPE_STRING) {
        g_set_error(error, XML_ERROR, 0, "--vmi: the annotation "
                    XML_VMI_ANNOTATION " is no text");
        return NULL;
    }
    return node ? json_node_dup_string(node) : NULL;
}

static XmlDoc *parse_annotation(const char *text, GError **error)
{
    g_autoptr(XmlDoc) doc = xml_doc_parse(text, strlen(text), error);
    xmlNode *root = doc ? xmlDocGetRootElement(doc) : NULL;

    if (root && !xml_is(root, NS, "groups") && !xml_is(root, NS, "group")) {
        xml_error(error, root, "<%s> is neither <groups> nor <group> of the "
                  "namespace " NS, root->name);
        root = NULL;
    }
    if (!root || !xml_metadata_check(root, error)) {
        g_prefix_error(error, "annotation " XML_VMI_ANNOTATION ": ");
        return NULL;
    }
    return g_steal_pointer(&doc);
}

/* All of ours but the list of what was generated, which is returned. */
static xmlNode *remove_groups(xmlNode *metadata)
{
    xmlNode *generated = NULL;
    xmlNode *node;

    while ((node = xml_child(metadata, NS, NULL))) {
        xmlNode *found = xml_child(node, NS, "generated");

        if (found && !generated) {
            generated = xmlDocCopyNode(found, metadata->doc, 1);
        }
        xml_remove(node);
    }
    return generated;
}

static void put_groups(XmlDoc *doc, xmlNode *groups)
{
    xmlNode *root = xmlDocGetRootElement(doc);
    xmlNode *metadata = xml_child(root, NULL, "metadata")
                        ?: xml_append(root, NULL, "metadata");
    xmlNode *generated = remove_groups(metadata);
    xmlNode *place = xml_append(metadata, NULL, "groups");
    xmlNode *copy = xmlDocCopyNode(groups, doc, 1);
    xmlNode *own;

    xmlReplaceNode(place, copy);
    xmlFreeNode(place);
    if (xml_is(copy, NS, "group")) {
        copy = xml_wrap_groups(metadata);
    }
    own = xml_child(copy, NS, "generated");
    if (own) {
        xml_remove(own);
    }
    if (generated) {
        xmlAddChild(copy, generated);
        xmlReconciliateNs(doc, copy);
    }
}

bool xml_vmi_metadata(XmlDoc *doc, const char *vmi, GPtrArray *changes,
                      GError **error)
{
    g_autoptr(GError) problem = NULL;
    g_autofree char *text = find_annotation(vmi, &problem);
    g_autoptr(XmlDoc) groups = text ? parse_annotation(text, &problem) : NULL;

    if (problem) {
        g_propagate_error(error, g_steal_pointer(&problem));
        return false;
    }
    if (groups) {
        put_groups(doc, xmlDocGetRootElement(groups));
        xml_changed(changes, "the groups are those of the annotation "
                    XML_VMI_ANNOTATION);
    }
    return true;
}
