/**
 * Writes an element as text, always from the tree: what others sent is never passed on as it came, so
 * that two parsers cannot see two things in it (stanza smuggling).
 *
 * The text stands inside a stream whose default namespace is that of its stanzas, `jabber:client` or
 * `jabber:server`; both are `jabber:client` in the tree, so one text does for both, and is kept for
 * those that go to many.
 */
import type { XmlElement } from './element.ts'
import { ns } from './names.ts'

const special = /[\0-\x1f&<>"'\ufffe\uffff\ud800-\udfff]/u
const eachSpecial = /[\0-\x1f&<>"'\ufffe\uffff\ud800-\udfff]/gu

/** Characters that XML cannot carry (XML 1.0 §2.2) become U+FFFD: a chat of ours may hold anything. */
const escapes: Readonly<Record<string, string>> = {
  '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', '\'': '&apos;',
  '\t': '&#x9;', '\n': '&#xA;', '\r': '&#xD;',
}

function escaped(text: string): string {
  return special.test(text) ? text.replace(eachSpecial, (one) => escapes[one] ?? '\ufffd') : text
}

/** Line breaks and tabs of a text need no escape, but a return does (XML 1.0 §2.11). */
function escapedText(text: string): string {
  if (!special.test(text)) return text
  return text.replace(eachSpecial, (one) => one === '\n' || one === '\t' || one === '"' || one === '\''
    ? one
    : escapes[one] ?? '\ufffd')
}

/** A stanza for a stream: without a namespace of its own where it is the stream's. */
export function writeStanza(element: XmlElement): string {
  return element.written(inStream)
}

function inStream(element: XmlElement): string {
  return written(element, ns.client)
}

/** The same as a document of its own: for a WebSocket message (RFC 7395 §3.3.3) and for records. */
export function writeElement(element: XmlElement): string {
  const text = writeStanza(element)
  if (element.ns !== ns.client) return text
  return `<${element.name} xmlns='${ns.client}'${text.slice(element.name.length + 1)}`
}

/** Recursion is bounded by the depth that the reader lets in. */
function written({ name, ns: own, attrs, children }: XmlElement, around: string): string {
  let text = `<${name}`
  if (own !== around) text += ` xmlns='${escaped(own)}'`
  let foreign = 0
  for (const key in attrs) {
    const value = escaped(attrs[key]!)
    if (key.startsWith('{')) {
      // The last: a namespace may hold anything, a name no brace.
      const end = key.lastIndexOf('}')
      const prefix = `n${foreign++}`
      text += ` xmlns:${prefix}='${escaped(key.slice(1, end))}' ${prefix}:${key.slice(end + 1)}='${value}'`
    } else {
      text += ` ${key}='${value}'`
    }
  }
  if (children.length === 0) return `${text}/>`
  text += '>'
  for (const child of children) text += typeof child === 'string' ? escapedText(child) : written(child, own)
  return `${text}</${name}>`
}

/** Attributes of a stream header or `<open/>`, for those who write these by hand. */
export function writeAttributes(attrs: Readonly<Record<string, string | undefined>>): string {
  return Object.entries(attrs)
    .filter((entry): entry is [string, string] => entry[1] !== undefined)
    .map(([name, value]) => ` ${name}='${escaped(value)}'`)
    .join('')
}
