/**
 * Message Archive Management of accounts (XEP-0313 1.1.2): their owners alone read it. Everything
 * worth keeping is archived for everybody; `prefs` says so and takes nothing else.
 */
import { archiveMetadata, answerQuery, mamFeatures, queryForm } from '../archive/mam.ts'
import type { Archive } from '../archive/archive.ts'
import { ownerOf } from '../host/owner.ts'
import type { XmppHost } from '../host/xmpp-host.ts'
import { StanzaError } from '../stanza-errors.ts'
import { el } from '../xml/element.ts'
import { ns } from '../xml/names.ts'

export function serveArchive(host: XmppHost, archive: Archive): void {
  const { iq, route } = host.context
  iq.addFeatures('account', ...mamFeatures, ns.stanzaIds)
  iq.add({
    target: 'account', ns: ns.mam, name: 'query', type: 'set',
    async handle(request) {
      const { account, resource } = await ownerOf(host, request)
      const { messages, fin } = await answerQuery(archive, request.payload, {
        owner: account.id, from: account.jid, to: request.from,
      })
      for (const message of messages) {
        await resource?.session.room()
        await route(message)
      }
      return fin
    },
  })
  iq.add({
    target: 'account', ns: ns.mam, name: 'query', type: 'get',
    async handle(request) {
      await ownerOf(host, request)
      return queryForm()
    },
  })
  iq.add({
    target: 'account', ns: ns.mam, name: 'metadata', type: 'get',
    handle: async (request) => archiveMetadata(archive, (await ownerOf(host, request)).account.id),
  })
  const prefs = el(ns.mam, 'prefs', { default: 'always' }, el(ns.mam, 'always'), el(ns.mam, 'never'))
  iq.add({
    target: 'account', ns: ns.mam, name: 'prefs',
    async handle(request) {
      await ownerOf(host, request)
      if (request.type === 'set' && request.payload.attrs.default !== 'always') {
        throw new StanzaError(
          'feature-not-implemented', 'everything is archived here; mark a message with no-store',
        )
      }
      return prefs
    },
  })
}
