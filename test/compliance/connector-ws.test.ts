/** The connector suite over WebSocket, plain and over TLS. */
import { connectorSuite } from './connector.ts'
import { socketDoors } from './socket-doors.ts'

for (const door of socketDoors) if (door.transport === 'ws') connectorSuite(door)
