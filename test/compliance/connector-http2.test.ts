/** The connector suite over HTTP/2, plain and over TLS. */
import { connectorSuite } from './connector.ts'
import { socketDoors } from './socket-doors.ts'

for (const door of socketDoors) if (door.transport === 'http2') connectorSuite(door)
