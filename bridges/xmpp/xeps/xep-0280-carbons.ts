/** Message Carbons (XEP-0280 1.0.1), the switch; the copies are made in host/messages.ts. */
import { ownerOf } from '../host/owner.ts'
import type { XmppHost } from '../host/xmpp-host.ts'
import { ns } from '../xml/names.ts'

export function serveCarbons(host: XmppHost): void {
  const { iq } = host.context
  for (const target of ['server', 'account'] as const) iq.addFeatures(target, ns.carbons)
  iq.addFeatures('account', 'urn:xmpp:carbons:rules:0')
  for (const name of ['enable', 'disable'] as const) {
    iq.add({
      target: 'account', ns: ns.carbons, name, type: 'set',
      async handle(request) {
        const { resource } = await ownerOf(host, request)
        if (resource !== undefined) resource.wantsCarbons = name === 'enable'
        return undefined
      },
    })
  }
}
