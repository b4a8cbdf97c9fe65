/**
 * From the events of saxes (namespaces on) to elements, behind our own gate: depth, attributes,
 * children, and nothing that XMPP forbids (RFC 6120 §11.1). Shared by streams and by single documents.
 *
 * saxes rather than `@xmpp/xml` (ltx): ltx takes most malformed input as good, swallows a stream at a
 * DOCTYPE, and needs quadratic time for a long text that comes in small pieces
 * (docs/decisions/0018-xmpp-xml.md).
 */
import { SaxesParser } from 'saxes'
import type { SaxesTagNS } from 'saxes'
import { xmppLimits } from '../limits.ts'
import { XmlElement } from './element.ts'
import type { XmlNode } from './element.ts'
import { ns } from './names.ts'

/** Conditions of RFC 6120 §4.9.3 that reading can end with. */
export type ReadFailure = 'not-well-formed' | 'restricted-xml' | 'policy-violation' | 'unsupported-encoding'
  | 'bad-format' | 'bad-namespace-prefix'

export interface BuilderListener {
  /** The first tag, when elements of depth `level` are wanted and that is above 0. */
  root(element: XmlElement, defaultNs: string): void
  /** One whole element of the wanted depth. */
  element(element: XmlElement): void
  /** The end tag of the root. */
  end(): void
  failed(condition: ReadFailure, text: string): void
}

interface Open {
  readonly ns: string
  readonly name: string
  readonly attrs: Record<string, string>
  readonly children: XmlNode[]
}

/** Where saxes 6.0.0 keeps what `on` is given; the tests of refusals hold that it still does. */
interface RareHandlers {
  doctypeHandler: () => void
  commentHandler: () => void
  piHandler: () => void
  xmldeclHandler: (declaration: { readonly encoding?: string }) => void
}

const whitespace = /^[ \t\r\n]*$/

/** Ends the parser in the middle of its input: what is nested in the rest would cost it seconds. */
const over = new Error('nothing more is read')

export class ElementBuilder {
  /** XML 1.1 would let control characters in. */
  readonly #parser = new SaxesParser({
    xmlns: true, position: false, defaultXMLVersion: '1.0', forceXMLVersion: true,
  })
  readonly #listener: BuilderListener
  /** 0: the document is the element; 1: its children are. */
  readonly #level: 0 | 1
  readonly #stack: Open[] = []
  #nodes = 0
  #attributes = 0
  #isOver = false
  /** Characters of all pieces; the parser's own position is right in the middle of one alone. */
  #written = 0
  /** Characters when the last element of the wanted depth ended. */
  #boundary = 0
  /** Of one element of the wanted depth, with what stands before it. */
  charactersMax = Number.POSITIVE_INFINITY

  constructor(listener: BuilderListener, level: 0 | 1) {
    this.#listener = listener
    this.#level = level
    const parser = this.#parser
    parser.on('attribute', () => this.#attribute())
    parser.on('opentag', (tag) => this.#open(tag))
    parser.on('closetag', () => this.#close())
    parser.on('text', (text) => this.#text(text))
    parser.on('cdata', (text) => this.#text(text))
    parser.on('error', () => this.#fail('not-well-formed', 'this is not well-formed XML'))
    // By name, not by `on`: V8 makes a slow dictionary of the parser at the seventh that `on` adds, and
    // reading then takes several times as long.
    const rare = parser as unknown as RareHandlers
    rare.doctypeHandler = () => this.#fail('restricted-xml', 'a document type declaration')
    rare.commentHandler = () => this.#fail('restricted-xml', 'a comment')
    rare.piHandler = () => this.#fail('restricted-xml', 'a processing instruction')
    rare.xmldeclHandler = ({ encoding }) => {
      if (encoding === undefined || encoding.toLowerCase() === 'utf-8') return
      this.#fail('unsupported-encoding', `the encoding ${encoding.slice(0, 20)}; only UTF-8 is spoken here`)
    }
  }

  /** Open elements: 0 before the root and after it. */
  get depth(): number {
    return this.#stack.length
  }

  /** Characters since the last element of the wanted depth. */
  get pending(): number {
    return this.#written - this.#boundary
  }

  /** Nothing more is told, whatever the rest of the input is. */
  stop(): void {
    this.#isOver = true
  }

  write(text: string): void {
    this.#parsed(() => {
      this.#parser.write(text)
      this.#written += text.length
      this.#checkSize(this.pending)
    })
  }

  /** No more input: of a single document. */
  close(): void {
    this.#parsed(() => { this.#parser.close() })
  }

  #parsed(step: () => void): void {
    if (this.#isOver) return
    try {
      step()
    } catch (error) {
      if (error !== over) throw error
    }
  }

  #checkSize(characters: number): void {
    if (characters <= this.charactersMax) return
    this.#fail('policy-violation', `a stanza has more than ${this.charactersMax} characters`)
  }

  /** Counted one by one, before the parser compares all of them. */
  #attribute(): void {
    if (++this.#attributes <= xmppLimits.xmlAttributesMax) return
    this.#fail('policy-violation', `an element has more than ${xmppLimits.xmlAttributesMax} attributes`)
  }

  #open(tag: SaxesTagNS): void {
    this.#attributes = 0
    // Nobody could write it again: no other prefix than `xml` may name it (Namespaces in XML §3).
    if (tag.uri === ns.xml) this.#fail('bad-namespace-prefix', 'an element of the namespace of XML itself')
    if (this.#stack.length >= xmppLimits.xmlDepthMax) {
      this.#fail('policy-violation', `elements are nested deeper than ${xmppLimits.xmlDepthMax}`)
    }
    if (++this.#nodes > xmppLimits.xmlElementsMax) {
      this.#fail('policy-violation', `a stanza has more than ${xmppLimits.xmlElementsMax} elements`)
    }
    const attrs: Record<string, string> = {}
    for (const key in tag.attributes) {
      const { prefix, local, uri, value } = tag.attributes[key]!
      if (prefix === 'xmlns' || (prefix === '' && local === 'xmlns')) continue
      attrs[prefix === '' ? local : prefix === 'xml' ? `xml:${local}` : `{${uri}}${local}`] = value
    }
    const open = { ns: contentNs(tag.uri), name: tag.local, attrs, children: [] }
    this.#stack.push(open)
    if (this.#level === 1 && this.#stack.length === 1) {
      this.#boundary = this.#parser.position
      this.#listener.root(new XmlElement(open, attrs, []), tag.ns[''] ?? '')
      this.#goOn()
    }
  }

  #close(): void {
    const open = this.#stack.pop()!
    const depth = this.#stack.length
    if (depth < this.#level) {
      this.#isOver = true
      this.#listener.end()
      throw over
    }
    const element = new XmlElement(open, open.attrs, open.children)
    if (depth > this.#level) {
      this.#stack[depth - 1]!.children.push(element)
      return
    }
    this.#checkSize(this.#parser.position - this.#boundary)
    this.#boundary = this.#parser.position
    this.#nodes = 0
    this.#listener.element(element)
    this.#goOn()
  }

  #text(text: string): void {
    if (text === '') return
    const depth = this.#stack.length
    if (depth <= this.#level) {
      if (!whitespace.test(text)) this.#fail('bad-format', 'text between stanzas')
      return
    }
    const { children } = this.#stack[depth - 1]!
    const last = children.length - 1
    if (typeof children[last] === 'string') children[last] += text
    else children.push(text)
  }

  /** A listener may have said `stop`. */
  #goOn(): void {
    if (this.#isOver) throw over
  }

  #fail(condition: ReadFailure, text: string): never {
    this.#isOver = true
    this.#listener.failed(condition, text)
    throw over
  }
}

/** Between servers the content namespace has another name for the same things (RFC 6120 §4.8.3). */
function contentNs(uri: string): string {
  return uri === ns.server ? ns.client : uri
}
