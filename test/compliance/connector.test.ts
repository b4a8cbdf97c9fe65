/** The connector suite over memory and TCP; connector-http.test.ts has the doors that speak HTTP. */
import { LoopbackConnector } from '../../node/connectors/loopback-connector.ts'
import { connectorSuite } from './connector.ts'
import { socketDoors } from './socket-doors.ts'

connectorSuite({
  name: 'loopback',
  transport: 'loopback',
  create: (clock) => new LoopbackConnector({ clock }),
  dialer: (connector, _clock, own) => (connector as LoopbackConnector).dialer(own.publicKey),
})

for (const door of socketDoors) if (door.transport === 'tcp') connectorSuite(door)
