/** The connector suite over UDP on loopback, IPv4 and IPv6. */
import { connectorSuite } from './connector.ts'
import { datagramDoors } from './socket-doors.ts'

for (const door of datagramDoors) connectorSuite(door)
