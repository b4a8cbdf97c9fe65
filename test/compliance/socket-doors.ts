/**
 * Every door that is reached over a socket, as the connector suite wants it: those of streams plain
 * and over TLS, that of datagrams over both families.
 */
import { readFileSync } from 'node:fs'
import { createSecureContext } from 'node:tls'
import { silentLog } from '../../node/ports.ts'
import type { Connector } from '../../node/ports.ts'
import { HTTP2Connector } from '../../node/connectors/http2-connector.ts'
import { HTTP2Dialer } from '../../node/connectors/http2-dialer.ts'
import { TCPConnector } from '../../node/connectors/tcp-connector.ts'
import { TCPDialer } from '../../node/connectors/tcp-dialer.ts'
import { UDPConnector } from '../../node/connectors/udp-connector.ts'
import { UDPDialer } from '../../node/connectors/udp-dialer.ts'
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

/** The port of a connector; after a stop the last one, where nobody listens any more. */
class Ports {
  readonly #known = new WeakMap<Connector, number>()

  of(connector: Connector): number {
    const address = connector.address()
    if (address !== undefined) this.#known.set(connector, Number(address.split(':').at(-1)))
    return this.#known.get(connector)!
  }
}

export const socketDoors: readonly ConnectorCase[] = doors.flatMap(({ transport, Door, Dialer, name }) =>
  // A page's WebSocket takes no certificate of ours.
  (name === undefined ? [false, true] : [false]).map((tls): ConnectorCase => {
    const ports = new Ports()
    return {
      name: name ?? (tls ? `${transport}+tls` : transport),
      transport,
      readsAlways: name !== undefined,
      create: (clock) => new Door(
        { clock, random: seededRandom('door'), log: silentLog, doorKey },
        { host: '127.0.0.1', port: 0, ...tls ? { tls: () => testCertificate } : {} },
      ),
      dialer(connector, clock, own, node = doorKey.publicKey) {
        const place = { host: '127.0.0.1', port: ports.of(connector), doorKey: node }
        return new Dialer({ clock, random: seededRandom('device') }, { ...place, own, tls })
      },
    }
  }))

export const datagramDoors: readonly ConnectorCase[] = [
  { name: 'udp', host: '127.0.0.1' }, { name: 'udp over IPv6', host: '::1' },
].map(({ name, host }): ConnectorCase => {
  const ports = new Ports()
  return {
    name,
    transport: 'udp',
    create: (clock) => new UDPConnector(
      { clock, random: seededRandom('door'), log: silentLog, doorKey },
      { host, port: 0 },
    ),
    dialer(connector, clock, own, node = doorKey.publicKey) {
      const place = { host, port: ports.of(connector), doorKey: node }
      return new UDPDialer({ clock, random: seededRandom('device') }, { ...place, own })
    },
  }
})
