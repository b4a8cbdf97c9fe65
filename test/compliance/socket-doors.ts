/** Every door that is reached over a socket, as the connector suite wants it: plain and over TLS. */
import { readFileSync } from 'node:fs'
import { createSecureContext } from 'node:tls'
import { silentLog } from '../../node/ports.ts'
import type { Connector } from '../../node/ports.ts'
import { HTTP2Connector } from '../../node/connectors/http2-connector.ts'
import { HTTP2Dialer } from '../../node/connectors/http2-dialer.ts'
import { TCPConnector } from '../../node/connectors/tcp-connector.ts'
import { TCPDialer } from '../../node/connectors/tcp-dialer.ts'
import { WSConnector } from '../../node/connectors/ws-connector.ts'
import { WSDialer } from '../../node/connectors/ws-dialer.ts'
import type { DialerComponents, DialerOptions } from '../../node/connectors/dial-link.ts'
import { PageDialer } from '../../protocol/session/page-dialer.ts'
import type { PageSocket } from '../../protocol/session/page-dialer.ts'
import { seededRandom } from '../helpers/seeded-random.ts'
import type { ConnectorCase } from './connector-world.ts'
import { deviceKeys } from './connector-world.ts'

export const doorKey = deviceKeys('door')

/** Self-signed, made for these tests; devices accept any, since the Noise channel proves the node. */
function fixture(name: string): Buffer {
  return readFileSync(new URL(`../fixtures/${name}`, import.meta.url))
}
export const testCertificate = createSecureContext({
  cert: fixture('tls-test-cert.pem'), key: fixture('tls-test-key.pem'),
})

/** Node's own WebSocket is the one of browsers. */
class NodePageDialer extends PageDialer {
  constructor(components: DialerComponents, options: DialerOptions) {
    super(components, {
      ...options,
      url: `ws://${options.host}:${options.port}/openim/1`,
      open: (url, protocols) => new WebSocket(url, protocols) as PageSocket,
    })
  }
}

const doors = [
  { transport: 'tcp', Door: TCPConnector, Dialer: TCPDialer },
  { transport: 'ws', Door: WSConnector, Dialer: WSDialer },
  { transport: 'http2', Door: HTTP2Connector, Dialer: HTTP2Dialer },
  { transport: 'ws', Door: WSConnector, Dialer: NodePageDialer, name: 'ws from a page' },
]

export const socketDoors: readonly ConnectorCase[] = doors.flatMap(({ transport, Door, Dialer, name }) =>
  // A page's WebSocket takes no certificate of ours.
  (name === undefined ? [false, true] : [false]).map((tls): ConnectorCase => {
    const ports = new WeakMap<Connector, number>()
    return {
      name: name ?? (tls ? `${transport}+tls` : transport),
      transport,
      readsAlways: name !== undefined,
      create: (clock) => new Door(
        { clock, random: seededRandom('door'), log: silentLog, doorKey },
        { host: '127.0.0.1', port: 0, ...tls ? { tls: () => testCertificate } : {} },
      ),
      dialer(connector, clock, own, node = doorKey.publicKey) {
        // After a stop the last port is dialled, where nobody listens any more.
        const address = connector.address()
        if (address !== undefined) ports.set(connector, Number(address.split(':').at(-1)))
        const place = { host: '127.0.0.1', port: ports.get(connector)!, doorKey: node }
        return new Dialer({ clock, random: seededRandom('device') }, { ...place, own, tls })
      },
    }
  }))
