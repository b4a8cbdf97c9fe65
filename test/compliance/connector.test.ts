/** The connector suite over every transport there is. */
import { silentLog } from '../../node/ports.ts'
import { LoopbackConnector } from '../../node/connectors/loopback-connector.ts'
import { TCPConnector } from '../../node/connectors/tcp-connector.ts'
import { TCPDialer } from '../../node/connectors/tcp-dialer.ts'
import { seededRandom } from '../helpers/seeded-random.ts'
import { connectorSuite } from './connector.ts'
import { deviceKeys } from './connector-world.ts'

const doorKey = deviceKeys('door')

connectorSuite({
  name: 'loopback',
  create: (clock) => new LoopbackConnector({ clock }),
  dialer: (connector, _clock, own) => (connector as LoopbackConnector).dialer(own.publicKey),
})

let port = 0
connectorSuite({
  name: 'tcp',
  create: (clock) => new TCPConnector(
    { clock, random: seededRandom('door'), log: silentLog, doorKey },
    { host: '127.0.0.1', port: 0 },
  ),
  dialer(connector, clock, own) {
    // After a stop the last port is dialled, where nobody listens any more.
    port = Number(connector.address()?.split(':').at(-1) ?? port)
    const place = { host: '127.0.0.1', port, doorKey: doorKey.publicKey }
    return new TCPDialer({ clock, random: seededRandom('device') }, { ...place, own })
  },
})
