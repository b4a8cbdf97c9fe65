/**
 * Entity Capabilities (XEP-0115 1.6): what each client can do, learned once for a hash and kept. The
 * server needs it to know who wants which personal events (XEP-0163 §4). A hash is believed only
 * after it was computed from the answer (§5.4), so nobody can spoil it for others; only SHA-1 is
 * defined for interoperability, and nothing secret hangs on it.
 */
import { createHash } from 'node:crypto'
import type { Account } from '../host/account.ts'
import type { XmppHost } from '../host/xmpp-host.ts'
import { Jid } from '../jid.ts'
import { xmppLimits } from '../limits.ts'
import { el } from '../xml/element.ts'
import type { XmlElement } from '../xml/element.ts'
import { ns } from '../xml/names.ts'

export const capsNs = 'http://jabber.org/protocol/caps'

const noFeatures: ReadonlySet<string> = new Set()

export class Capabilities {
  readonly #host: XmppHost
  /** By hash; the least recently used first. */
  readonly #known = new Map<string, ReadonlySet<string>>()
  readonly #asking = new Map<string, Promise<ReadonlySet<string>>>()

  constructor(host: XmppHost) {
    this.#host = host
  }

  /** Features of whoever sent this presence; asks them when the hash is new. */
  async features(account: Account, presence: XmlElement): Promise<ReadonlySet<string>> {
    const caps = presence.child('c', capsNs)
    const from = Jid.parse(presence.attrs.from ?? '')
    const { node, ver, hash } = caps?.attrs ?? {}
    if (from === undefined || node === undefined || ver === undefined) return noFeatures
    const known = this.#known.get(ver)
    if (known !== undefined) {
      this.#known.delete(ver)
      this.#known.set(ver, known)
      return known
    }
    if (hash !== 'sha-1') return noFeatures
    const key = `${ver} ${from.toString()}`
    const asking = this.#asking.get(key) ?? this.#ask(account, from, { node, ver })
      .finally(() => this.#asking.delete(key))
    this.#asking.set(key, asking)
    return asking
  }

  /** Known without asking. */
  knownFeatures(presence: XmlElement): ReadonlySet<string> {
    return this.#known.get(presence.child('c', capsNs)?.attrs.ver ?? '') ?? noFeatures
  }

  async #ask(
    account: Account,
    to: Jid,
    { node, ver }: { readonly node: string, readonly ver: string },
  ): Promise<ReadonlySet<string>> {
    const query = el(ns.discoInfo, 'query', { node: `${node}#${ver}` })
    const answer = await this.#host.calls.ask({ type: 'get', from: account.jid, to }, query)
    const info = answer?.attrs.type === 'result' ? answer.child('query', ns.discoInfo) : undefined
    if (info === undefined || capsHash(info) !== ver) return noFeatures
    const features = new Set(info.elements('feature').map(({ attrs }) => attrs.var ?? ''))
    if (features.size > xmppLimits.capsFeaturesMax) return noFeatures
    if (this.#known.size >= xmppLimits.capsKnownMax) this.#known.delete(this.#known.keys().next().value!)
    this.#known.set(ver, features)
    return features
  }
}

/** XEP-0115 §5.1; `undefined` where §5.4 says that the answer is ill-formed. */
export function capsHash(info: XmlElement): string | undefined {
  const identities = info.elements('identity').map(({ attrs }) =>
    [attrs.category ?? '', attrs.type ?? '', attrs['xml:lang'] ?? '', attrs.name ?? ''])
  const features = info.elements('feature').map(({ attrs }) => attrs.var ?? '')
  if (hasDoubles(identities.map((parts) => parts.join('/'))) || hasDoubles(features)) return undefined
  const forms: (readonly [type: string, text: string])[] = []
  for (const form of info.elements('x', ns.dataForm)) {
    const text = formText(form)
    if (text === 'ill-formed') return undefined
    if (text !== undefined) forms.push(text)
  }
  if (hasDoubles(forms.map(([type]) => type))) return undefined
  const text = [
    ...identities.sort(byOctets).map((parts) => `${parts.join('/')}<`),
    ...sorted(features).map((feature) => `${feature}<`),
    ...forms.sort(byOctets).map(([, text]) => text),
  ].join('')
  return createHash('sha1').update(text).digest('base64')
}

function formText(form: XmlElement): readonly [string, string] | 'ill-formed' | undefined {
  const fields = form.elements('field')
  const typeField = fields.find(({ attrs }) => attrs.var === 'FORM_TYPE')
  if (typeField === undefined || typeField.attrs.type !== 'hidden') return undefined
  const [type, ...others] = new Set(valuesOf(typeField))
  if (type === undefined || others.length > 0) return 'ill-formed'
  const rest = fields.filter((field) => field !== typeField)
    .map((field) => [field.attrs.var ?? '', ...sorted(valuesOf(field))])
    .sort(byOctets)
  return [type, [type, ...rest.flat()].map((part) => `${part}<`).join('')]
}

function valuesOf(field: XmlElement): string[] {
  return field.elements('value').map(({ text }) => text)
}

function hasDoubles(texts: readonly string[]): boolean {
  return new Set(texts).size !== texts.length
}

/** By octets of UTF-8 (`i;octet`, RFC 4790 §9.3), part by part. */
function byOctets(a: readonly string[], b: readonly string[]): number {
  for (const [i, part] of a.entries()) {
    const order = Buffer.compare(Buffer.from(part), Buffer.from(b[i] ?? ''))
    if (order !== 0) return order
  }
  return 0
}

function sorted(texts: readonly string[]): string[] {
  return texts.map((text) => [text]).sort(byOctets).map(([text]) => text!)
}

/** The server's own capabilities, for the stream features (§6.3). */
export function capsElement(info: XmlElement, node: string): XmlElement {
  return el(capsNs, 'c', { hash: 'sha-1', node, ver: capsHash(info) })
}
