/**
 * The tree of one XML element, as every part of the bridge sees it: namespaces resolved, prefixes gone.
 *
 * An element is never changed after it is made, so one subtree may stand in many stanzas (carbons,
 * archives, rooms) and its text may be written once for all of them. There is no parent pointer for
 * the same reason. `@xmpp/xml` (ltx) is not used for this: its elements are mutable, know their parent,
 * and resolve a prefix by walking up on every question.
 *
 * ```ts
 * const stanza = el(ns.client, 'message', { to: 'bob@b.test' }, el(ns.client, 'body', {}, 'hello'))
 * stanza.child('body')?.text          // 'hello': the namespace of the parent where none is given
 * ```
 */

export type XmlNode = XmlElement | string

/**
 * Values by name. `xml:lang` and other attributes of the xml namespace keep their prefix; one of
 * another namespace is `{namespace}name`. Namespace declarations are no attributes here.
 */
export type XmlAttributes = Readonly<Record<string, string>>

/** Absent children and attributes may be handed over as `undefined` and are left out. */
export type XmlNodeInput = XmlNode | undefined

export class XmlElement {
  readonly ns: string
  /** Local name. */
  readonly name: string
  readonly attrs: XmlAttributes
  /** Text is never empty, and no two texts follow each other. */
  readonly children: readonly XmlNode[]
  #text: string | undefined

  /** Takes both without copying: nobody else may change them. Prefer `el`. */
  constructor(
    { ns, name }: { readonly ns: string, readonly name: string },
    attrs: XmlAttributes,
    children: readonly XmlNode[],
  ) {
    this.ns = ns
    this.name = name
    this.attrs = attrs
    this.children = children
  }

  is(name: string, ns: string): boolean {
    return this.name === name && this.ns === ns
  }

  /** The first child of this name, in this element's own namespace unless another is given. */
  child(name: string, ns = this.ns): XmlElement | undefined {
    for (const node of this.children) {
      if (typeof node !== 'string' && node.name === name && node.ns === ns) return node
    }
    return undefined
  }

  /** The first child of this namespace, of any name. */
  childOf(ns: string): XmlElement | undefined {
    for (const node of this.children) {
      if (typeof node !== 'string' && node.ns === ns) return node
    }
    return undefined
  }

  /** As text, by the writer (writer.ts), who is asked once: one element goes to many. */
  written(write: (element: XmlElement) => string): string {
    this.#text ??= write(this)
    return this.#text
  }

  /** All child elements, or those of this name and namespace. */
  elements(name?: string, ns = this.ns): XmlElement[] {
    const found: XmlElement[] = []
    for (const node of this.children) {
      if (typeof node === 'string') continue
      if (name === undefined || (node.name === name && node.ns === ns)) found.push(node)
    }
    return found
  }

  /** Its own text, without that of its children; empty when there is none. */
  get text(): string {
    const { children } = this
    if (children.length === 1 && typeof children[0] === 'string') return children[0]
    return children.filter((node) => typeof node === 'string').join('')
  }

  /** Text of the first child of this name. */
  childText(name: string, ns = this.ns): string | undefined {
    return this.child(name, ns)?.text
  }

  /** The same with other attributes; `undefined` takes one away. */
  withAttrs(changes: Readonly<Record<string, string | undefined>>): XmlElement {
    return new XmlElement(this, compact({ ...this.attrs, ...changes }), this.children)
  }

  withChildren(children: readonly XmlNodeInput[]): XmlElement {
    return new XmlElement(this, this.attrs, joinTexts(children))
  }

  /** The same with more at its end. */
  plus(...children: readonly XmlNodeInput[]): XmlElement {
    return this.withChildren([...this.children, ...children])
  }

  /** The same without the child elements that `isUnwanted` names. */
  without(isUnwanted: (child: XmlElement) => boolean): XmlElement {
    const isKept = (node: XmlNode): boolean => typeof node === 'string' || !isUnwanted(node)
    return this.children.every(isKept) ? this : this.withChildren(this.children.filter(isKept))
  }
}

/** Makes an element. */
export function el(
  ns: string,
  name: string,
  attrs: Readonly<Record<string, string | undefined>> = {},
  ...children: readonly XmlNodeInput[]
): XmlElement {
  return new XmlElement({ ns, name }, compact(attrs), joinTexts(children))
}

function compact(attrs: Readonly<Record<string, string | undefined>>): XmlAttributes {
  for (const name in attrs) {
    if (attrs[name] !== undefined) continue
    const present = Object.entries(attrs).filter((entry): entry is [string, string] => entry[1] !== undefined)
    return Object.fromEntries(present)
  }
  return attrs as XmlAttributes
}

function joinTexts(children: readonly XmlNodeInput[]): XmlNode[] {
  const nodes: XmlNode[] = []
  for (const child of children) {
    if (child === undefined || child === '') continue
    const last = nodes.at(-1)
    if (typeof child === 'string' && typeof last === 'string') nodes[nodes.length - 1] = last + child
    else nodes.push(child)
  }
  return nodes
}
