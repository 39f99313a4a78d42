/*
 * XML documents: reading them without trust, and changing them without
 * spoiling their layout
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <string.h>
#include <libxml/parser.h>
#include <libxml/parserInternals.h>
#include <libxml/xmlsave.h>
#include "xml.h"

void xml_doc_free(XmlDoc *doc)
{
    xmlFreeDoc(doc);
}

void xml_error(GError **error, const xmlNode *node, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list ap;

    va_start(ap, format);
    text = g_strdup_vprintf(format, ap);
    va_end(ap);
    g_set_error(error, XML_ERROR, 0, "line %ld: %s", xmlGetLineNo(node), text);
}

/* --- Reading and writing ------------------------------------------------- */

/* Of a parser: the first thing that it met and that was wrong */
typedef struct Trouble {
    long doctype;       /* line; 0: none */
    int line;
    char *message;
} Trouble;

/*
 * Called at "<!DOCTYPE", before anything of it is declared.  A domain has
 * none, and entities are good for attacks only.
 */
static void refuse_doctype(void *opaque, const xmlChar *name,
                           const xmlChar *external_id,
                           const xmlChar *system_id)
{
    xmlParserCtxt *parser = opaque;
    Trouble *trouble = parser->_private;

    (void)name;
    (void)external_id;
    (void)system_id;
    trouble->doctype = parser->input ? parser->input->line : 1;
    xmlStopParser(parser);
}

#if LIBXML_VERSION >= 21200
static void note_error(void *opaque, const xmlError *error)
#else
static void note_error(void *opaque, xmlError *error)
#endif
{
    xmlParserCtxt *parser = opaque;
    Trouble *trouble = parser->_private;

    if (!trouble->message && error->level >= XML_ERR_ERROR) {
        trouble->line = error->line;
        trouble->message = g_strchomp(g_strdup(error->message
                                               ?: "no reason known"));
    }
}

XmlDoc *xml_doc_parse(const char *text, size_t size, GError **error)
{
    xmlParserCtxt *parser;
    Trouble trouble = { 0 };
    XmlDoc *doc;

    if (size > XML_MAX_SIZE) {
        g_set_error(error, XML_ERROR, 0, "more than %zu MiB, which libvirt "
                    "does not take", XML_MAX_SIZE >> 20);
        return NULL;
    }
    parser = xmlNewParserCtxt();
    g_assert(parser);
    parser->_private = &trouble;
    parser->sax->internalSubset = refuse_doctype;
    parser->sax->serror = note_error;
    doc = xmlCtxtReadMemory(parser, text, size, NULL, NULL,
                            XML_PARSE_NONET | XML_PARSE_BIG_LINES);
    xmlFreeParserCtxt(parser);
    if (trouble.doctype) {
        g_set_error(error, XML_ERROR, 0, "line %ld: a document type, and with "
                    "it entities, are not accepted; remove <!DOCTYPE ...>",
                    trouble.doctype);
        g_clear_pointer(&doc, xmlFreeDoc);
    } else if (!doc || trouble.message) {
        g_set_error(error, XML_ERROR, 0, "line %d: not well-formed XML: %s",
                    MAX(trouble.line, 1), trouble.message ?: "it is empty");
        g_clear_pointer(&doc, xmlFreeDoc);
    }
    g_free(trouble.message);
    return doc;
}

GString *xml_doc_text(XmlDoc *doc, bool declaration)
{
    xmlBuffer *buffer = xmlBufferCreate();
    xmlSaveCtxt *save = xmlSaveToBuffer(buffer, "UTF-8", XML_SAVE_AS_XML |
                                        (declaration ? 0 : XML_SAVE_NO_DECL));
    GString *text;

    g_assert(save);
    xmlSaveDoc(save, doc);
    xmlSaveClose(save);
    text = g_string_new_len((const char *)xmlBufferContent(buffer),
                            xmlBufferLength(buffer));
    xmlBufferFree(buffer);
    return text;
}

/* --- Looking ------------------------------------------------------------- */

bool xml_is(const xmlNode *node, const char *ns, const char *name)
{
    const char *has = node->ns ? (const char *)node->ns->href : NULL;

    return node->type == XML_ELEMENT_NODE && g_strcmp0(has, ns) == 0 &&
           (!name || strcmp((const char *)node->name, name) == 0);
}

static xmlNode *first(xmlNode *node, const char *ns, const char *name)
{
    while (node && !xml_is(node, ns, name)) {
        node = node->next;
    }
    return node;
}

xmlNode *xml_child(const xmlNode *parent, const char *ns, const char *name)
{
    return parent ? first(parent->children, ns, name) : NULL;
}

xmlNode *xml_next(const xmlNode *node, const char *ns, const char *name)
{
    return first(node->next, ns, name);
}

char *xml_attribute(const xmlNode *node, const char *name)
{
    xmlChar *value = node ? xmlGetNoNsProp(node, BAD_CAST name) : NULL;
    char *text = g_strdup((const char *)value);

    xmlFree(value);
    return text;
}

bool xml_attribute_is(const xmlNode *node, const char *name,
                      const char *value)
{
    const xmlAttr *attribute = node ? xmlHasNsProp(node, BAD_CAST name, NULL)
                                    : NULL;
    const xmlNode *text = attribute ? attribute->children : NULL;

    /* Without entities, a value is one text. */
    return attribute &&
           g_strcmp0(text ? (const char *)text->content : "", value) == 0;
}

int xml_attribute_number(const xmlNode *node, const char *name)
{
    g_autofree char *text = xml_attribute(node, name);
    bool hex = text && (g_str_has_prefix(text, "0x") ||
                        g_str_has_prefix(text, "0X"));
    guint64 number;

    return text && g_ascii_string_to_unsigned(text + (hex ? 2 : 0),
                                              hex ? 16 : 10, 0, G_MAXINT,
                                              &number, NULL)
           ? (int)number : -1;
}

/* --- Changing ------------------------------------------------------------ */

static bool is_blank(const xmlNode *node)
{
    return node && node->type == XML_TEXT_NODE && xmlIsBlankNode(node);
}

/* "\n" and the blanks in front of @node, or NULL: it begins no line. */
static char *indentation(const xmlNode *node)
{
    const char *text;

    if (!is_blank(node->prev)) {
        return NULL;
    }
    text = strrchr((const char *)node->prev->content, '\n');
    return g_strdup(text);
}

static xmlNode *first_element(const xmlNode *parent)
{
    xmlNode *node = parent->children;

    while (node && node->type != XML_ELEMENT_NODE) {
        node = node->next;
    }
    return node;
}

static void add_blank_before(xmlNode *node, const char *blank)
{
    if (blank) {
        xmlAddPrevSibling(node, xmlNewDocText(node->doc, BAD_CAST blank));
    }
}

xmlNode *xml_append(xmlNode *parent, xmlNs *ns, const char *name)
{
    xmlNode *other = first_element(parent);
    g_autofree char *outer = parent->parent->type == XML_ELEMENT_NODE
                             ? indentation(parent) : g_strdup("\n");
    g_autofree char *inner = other ? indentation(other)
                                   : outer ? g_strconcat(outer, "  ", NULL)
                                           : NULL;
    xmlNode *node = xmlNewDocNode(parent->doc, ns, BAD_CAST name, NULL);

    if (is_blank(parent->last)) {
        xmlNode *last = parent->last;

        xmlUnlinkNode(last);
        xmlFreeNode(last);
    }
    xmlAddChild(parent, node);
    add_blank_before(node, inner);
    if (inner && outer) {
        xmlAddNextSibling(node, xmlNewDocText(node->doc, BAD_CAST outer));
    }
    return node;
}

xmlNode *xml_insert_before(xmlNode *sibling, xmlNs *ns, const char *name)
{
    g_autofree char *blank = indentation(sibling);
    xmlNode *node = xmlNewDocNode(sibling->doc, ns, BAD_CAST name, NULL);

    xmlAddPrevSibling(sibling, node);
    add_blank_before(sibling, blank);
    return node;
}

void xml_remove(xmlNode *node)
{
    xmlNode *blank = node->prev;

    if (is_blank(blank)) {
        xmlUnlinkNode(blank);
        xmlFreeNode(blank);
    }
    xmlUnlinkNode(node);
    xmlFreeNode(node);
}

xmlNs *xml_declare(XmlDoc *doc, const char *prefix, const char *href)
{
    xmlNode *root = xmlDocGetRootElement(doc);
    xmlNs *ns = root->nsDef;
    g_autofree char *free_prefix = g_strdup(prefix);

    while (ns && (!ns->prefix || strcmp((const char *)ns->href, href) != 0)) {
        ns = ns->next;
    }
    for (unsigned i = 1; !ns; i++) {
        ns = xmlNewNs(root, BAD_CAST href, BAD_CAST free_prefix);
        g_free(free_prefix);
        free_prefix = g_strdup_printf("%s%u", prefix, i);
    }
    return ns;
}
