/** XMPP Ping (XEP-0199 2.0): the server and each account answer. */
import type { XmppHost } from '../host/xmpp-host.ts'

const pingNs = 'urn:xmpp:ping'

export function servePing({ context: { iq } }: XmppHost): void {
  for (const target of ['server', 'account'] as const) {
    iq.add({ target, ns: pingNs, name: 'ping', type: 'get', handle: () => Promise.resolve(undefined) })
    iq.addFeatures(target, pingNs)
  }
}
