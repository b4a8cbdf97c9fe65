/**
 * Private XML Storage (XEP-0049 1.2): what older clients keep at the server, bookmarks above all.
 *
 * ```text
 *   private/ACCOUNT/HASH    one element; HASH of its namespace and name
 * ```
 */
import { utf8, utf8Decode } from '../../../crypto/bytes.ts'
import { crypto } from '../../../crypto/index.ts'
import type { Account } from '../host/account.ts'
import { ownerOf } from '../host/owner.ts'
import type { XmppHost } from '../host/xmpp-host.ts'
import { xmppLimits } from '../limits.ts'
import { StanzaError } from '../stanza-errors.ts'
import { el } from '../xml/element.ts'
import type { XmlElement } from '../xml/element.ts'
import { readElement, writeElement } from '../xml/text.ts'

const privateNs = 'jabber:iq:private'

/** Elements that another XEP keeps elsewhere, and shows here. */
export interface PrivateConversion {
  isFor(element: XmlElement): boolean
  /** What a client is shown; `kept` is what private XML holds of it. */
  read(account: Account, kept: XmlElement | undefined): Promise<XmlElement>
  /** What of it private XML is to hold. @throws StanzaError */
  write(account: Account, given: XmlElement): Promise<XmlElement>
}

export function servePrivateXml(host: XmppHost, conversions: readonly PrivateConversion[]): void {
  const { iq, kv } = host.context
  iq.addFeatures('server', privateNs)
  iq.add({
    target: 'account', ns: privateNs, name: 'query', type: 'get',
    async handle(request) {
      const { account } = await ownerOf(host, request)
      const asked = onlyChild(request.payload)
      const entry = await kv.get(keyOf(account.id, asked))
      const kept = entry === undefined ? undefined : readElement(utf8Decode(entry.value))
      const conversion = conversions.find((one) => one.isFor(asked))
      const shown = conversion === undefined ? kept : await conversion.read(account, kept)
      return el(privateNs, 'query', {}, shown ?? asked.withChildren([]))
    },
  })
  iq.add({
    target: 'account', ns: privateNs, name: 'query', type: 'set',
    async handle(request) {
      const { account } = await ownerOf(host, request)
      const given = onlyChild(request.payload)
      let value = utf8(writeElement(given))
      if (value.length > xmppLimits.privateXmlBytesMax) {
        throw new StanzaError(
          'policy-violation', `a record has at most ${xmppLimits.privateXmlBytesMax} bytes`,
        )
      }
      const key = keyOf(account.id, given)
      const prefix = `private/${account.id}/`
      const kept = await kv.list({ prefix, limit: xmppLimits.privateXmlRecordsMax })
      if (kept.length >= xmppLimits.privateXmlRecordsMax && !kept.some((entry) => entry.key === key)) {
        throw new StanzaError('resource-constraint', `there are ${kept.length} records already`)
      }
      const conversion = conversions.find((one) => one.isFor(given))
      if (conversion !== undefined) value = utf8(writeElement(await conversion.write(account, given)))
      await kv.write([{ type: 'put', key, value }])
      return undefined
    },
  })
}

function onlyChild(query: XmlElement): XmlElement {
  const [child, ...more] = query.elements()
  if (child === undefined || more.length > 0 || child.ns === privateNs || child.ns === '') {
    throw new StanzaError('bad-request', 'name exactly one element of a namespace of its own')
  }
  return child
}

function keyOf(account: string, { ns, name }: XmlElement): string {
  return `private/${account}/${crypto.sha256Hex(utf8(`${ns}\0${name}`)).slice(0, 32)}`
}
