/** Entity Time (XEP-0202 2.0), in UTC: where the node stands is nobody's business. */
import type { XmppHost } from '../host/xmpp-host.ts'
import { el } from '../xml/element.ts'

const timeNs = 'urn:xmpp:time'

export function serveTime({ context: { iq, clock } }: XmppHost): void {
  iq.addFeatures('server', timeNs)
  iq.add({
    target: 'server', ns: timeNs, name: 'time', type: 'get',
    handle: () => Promise.resolve(el(timeNs, 'time', {},
      el(timeNs, 'tzo', {}, 'Z'),
      el(timeNs, 'utc', {}, new Date(clock.now()).toISOString().replace(/\.\d+Z$/, 'Z')))),
  })
}
