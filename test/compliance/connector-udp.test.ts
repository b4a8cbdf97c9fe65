/** The connector suite over UDP on loopback, IPv4 and IPv6. */
import { UDPConnector } from '../../node/connectors/udp-connector.ts'
import { UDPDialer } from '../../node/connectors/udp-dialer.ts'
import { silentLog } from '../../node/ports.ts'
import type { Connector } from '../../node/ports.ts'
import { seededRandom } from '../helpers/seeded-random.ts'
import { connectorSuite } from './connector.ts'
import { deviceKeys } from './connector-world.ts'

const doorKey = deviceKeys('door')

for (const { name, host } of [{ name: 'udp', host: '127.0.0.1' }, { name: 'udp over IPv6', host: '::1' }]) {
  const ports = new WeakMap<Connector, number>()
  connectorSuite({
    name,
    transport: 'udp',
    create: (clock) => new UDPConnector(
      { clock, random: seededRandom('door'), log: silentLog, doorKey },
      { host, port: 0 },
    ),
    dialer(connector, clock, own, node = doorKey.publicKey) {
      // After a stop the last port is dialled, where nobody listens any more.
      const address = connector.address()
      if (address !== undefined) ports.set(connector, Number(address.split(':').at(-1)))
      const place = { host, port: ports.get(connector)!, doorKey: node }
      return new UDPDialer({ clock, random: seededRandom('device') }, { ...place, own })
    },
  })
}
