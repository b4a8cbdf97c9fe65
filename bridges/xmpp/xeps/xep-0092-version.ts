/** Software Version (XEP-0092 1.1): name and version, and nothing of the machine it runs on. */
import type { XmppHost } from '../host/xmpp-host.ts'
import { el } from '../xml/element.ts'

const versionNs = 'jabber:iq:version'

export function serveVersion({ context: { iq } }: XmppHost, { version }: { version: string }): void {
  iq.addFeatures('server', versionNs)
  iq.add({
    target: 'server', ns: versionNs, name: 'query', type: 'get',
    handle: () => Promise.resolve(el(versionNs, 'query', {},
      el(versionNs, 'name', {}, 'openIM'), el(versionNs, 'version', {}, version))),
  })
}
