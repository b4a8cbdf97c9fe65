/**
 * The composition root: an openIM node as it runs at home, with the real database, sockets and
 * clock, and the owner's account hosted on it.
 *
 * The hosted account is an ordinary client: it logs in over the loopback connector and the rest of
 * the node cannot tell it from a phone. Nothing else names concrete classes.
 */
import { join } from 'node:path'
import { crypto } from '../crypto/index.ts'
import { systemRandom } from '../crypto/random.ts'
import type { Random } from '../crypto/random.ts'
import { Client } from '../protocol/client/client.ts'
import { scopedKv } from '../protocol/client/scoped-kv.ts'
import { sealedKv } from '../protocol/client/sealed-kv.ts'
import type { Role } from '../protocol/node-descriptor.ts'
import { nodeIdFromKey } from '../protocol/ids.ts'
import { DeviceSession } from '../protocol/session/device-session.ts'
import { systemClock } from '../protocol/system-clock.ts'
import { LoopbackConnector } from './connectors/loopback-connector.ts'
import { TCPConnector } from './connectors/tcp-connector.ts'
import { doctor } from './doctor.ts'
import { NodeCore } from './node-core.ts'
import { Libp2pOverlay } from './overlay/libp2p-overlay.ts'
import type { Log, PeerInfo, Store } from './ports.ts'
import type { DoctorReport, NodeOptions, NodeReady, NodeStatus, PingResult } from './status.ts'
import { openLevelStore } from './storage/level-store.ts'
