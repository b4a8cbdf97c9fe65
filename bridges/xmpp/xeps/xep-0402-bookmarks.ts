/**
 * Bookmarks (XEP-0402 1.2.0) for clients that know the older ones (XEP-0048) in private XML: there is
 * one list, in the personal node, and both see it. Web addresses stay in private XML.
 *
 * ```text
 *   private set  storage:bookmarks ─► items published, retracted, each if it differs
 *   private get  storage:bookmarks ◄─ items of urn:xmpp:bookmarks:1, web addresses
 * ```
 */
import type { Account } from '../host/account.ts'
import type { XmppHost } from '../host/xmpp-host.ts'
import { Jid } from '../jid.ts'
import { xmppLimits } from '../limits.ts'
import { StanzaError } from '../stanza-errors.ts'
import { el } from '../xml/element.ts'
import type { XmlElement } from '../xml/element.ts'
import { writeElement } from '../xml/text.ts'
import { defaultConfig } from './pubsub-nodes.ts'
import type { NodeConfig } from './pubsub-nodes.ts'
import type { PrivateConversion } from './xep-0049-private.ts'
import type { PersonalEvents } from './xep-0163-pep.ts'

const bookmarksNs = 'urn:xmpp:bookmarks:1'
const storageNs = 'storage:bookmarks'
/** As XEP-0402 §4.1 has clients ask for it. */
const config: NodeConfig = {
  ...defaultConfig, accessModel: 'whitelist', itemsMax: xmppLimits.pepItemsMax, sendLast: 'never',
}

export function bookmarkConversion({ context }: XmppHost, pep: PersonalEvents): PrivateConversion {
  context.iq.addFeatures('account', `${bookmarksNs}#compat`)
  return {
    isFor: (element) => element.is('storage', storageNs),
    async read(account, kept) {
      const node = (await pep.nodes(account)).get(bookmarksNs)
      const rooms = (node?.items ?? []).flatMap(({ id, payload }) =>
        payload?.is('conference', bookmarksNs) === true ? [older(id, payload)] : [])
      return el(storageNs, 'storage', {}, ...kept?.elements('url') ?? [], ...rooms)
    },
    async write(account, given) {
      await replace(pep, account, given.elements('conference'))
      return given.without((child) => child.is('conference', storageNs))
    },
  }
}

async function replace(
  pep: PersonalEvents, account: Account, conferences: readonly XmlElement[],
): Promise<void> {
  if (conferences.length > xmppLimits.pepItemsMax) {
    throw new StanzaError('resource-constraint', `at most ${xmppLimits.pepItemsMax} bookmarks are kept`)
  }
  const rooms = new Map(conferences.map((conference) => {
    const jid = Jid.parse(conference.attrs.jid ?? '')
    if (jid === undefined) throw new StanzaError('jid-malformed', 'the address of a bookmark is malformed')
    return [jid.bare, conference]
  }))
  const known = (await pep.nodes(account)).get(bookmarksNs)
  const gone = (known?.items ?? []).filter(({ id }) => !rooms.has(id)).map(({ id }) => id)
  if (known !== undefined && gone.length > 0) await pep.retract(account, known, { ids: gone, isTold: true })
  for (const [id, conference] of rooms) {
    const before = known?.items.find((item) => item.id === id)?.payload
    const payload = newer(conference, before)
    if (before !== undefined && writeElement(before) === writeElement(payload)) continue
    await pep.publish(account, bookmarksNs, { id, payload, config })
  }
}

function older(jid: string, item: XmlElement): XmlElement {
  const { name, autojoin } = item.attrs
  return el(storageNs, 'conference', { jid, name, autojoin },
    copied(item, 'nick', storageNs), copied(item, 'password', storageNs))
}

/** What the older form cannot say stays as it was. */
function newer(conference: XmlElement, before: XmlElement | undefined): XmlElement {
  const { name, autojoin } = conference.attrs
  return el(bookmarksNs, 'conference', { name, autojoin },
    copied(conference, 'nick', bookmarksNs), copied(conference, 'password', bookmarksNs),
    before?.child('extensions'))
}

function copied(from: XmlElement, name: string, ns: string): XmlElement | undefined {
  const text = from.childText(name)
  return text === undefined ? undefined : el(ns, name, {}, text)
}
