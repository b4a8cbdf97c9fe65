/**
 * `openim/client`: the Client SDK's public face. Runs unchanged in browsers and on Node, Deno and
 * Bun; `openim/client/node` adds what Node alone has. docs/sdk.md shows how to use it.
 */
export { OpenIMError } from '../../crypto/errors.ts'
export type { ErrorDetails } from '../../crypto/errors.ts'
export { crypto } from '../../crypto/index.ts'
export { systemRandom } from '../../crypto/random.ts'
export type { Random } from '../../crypto/random.ts'
export type { Picture, ShortCode } from '../../crypto/short-auth.ts'
export { errorTable } from '../errors.ts'
export type { DeviceId, MessageId, NodeId } from '../ids.ts'
export { joinAccount } from '../linking/join.ts'
export type { Joined, JoinOptions } from '../linking/join.ts'
export { linkKeys, parseLinkCode } from '../linking/link-code.ts'
export type { LinkCode, LinkKeys } from '../linking/link-code.ts'
export { memoryKv } from '../memory-kv.ts'
export type { Clock, KvEntry, KvOperation, KvRange, KvStore, Timer } from '../ports.ts'
export { DeviceSession } from '../session/device-session.ts'
export { PageDialer, pageWays } from '../session/page-dialer.ts'
export type { PageDialerOptions, PageSocket } from '../session/page-dialer.ts'
export { RacingDialer } from '../session/racing-dialer.ts'
export type { Way } from '../session/racing-dialer.ts'
export type { DeviceSessionApi, DeviceSessionListener, Dialer } from '../session/types.ts'
export { systemClock } from '../system-clock.ts'
export type {
  AccountAlarm, ClientApi, ClientEvent, ClientInfo, Contact, ContactPlaces, Device, DevicesApi, FileOpener,
  FilesApi, FileSink, FileSource, FileState, FileStatus, HistoryEntry, HistoryFile, Invite, LinkOffer,
  LinkProgress, MessageState, MessageStatus, RouteName, SafetyNumber, SessionSecrecy, Trust, Unreadable,
} from './api.ts'
export { Client } from './client.ts'
export type { ClientComponents, ClientOptions } from './client.ts'
export type { ClientLog } from './context.ts'
export { isLinked, linkDevice, openDevice } from './device.ts'
export type { DeviceSurroundings, LinkDeviceOptions, OpenDeviceOptions, WaysTo } from './device.ts'
export { incoming } from './incoming.ts'
export type { IncomingOptions } from './incoming.ts'
export { IndexedDbKv } from './indexed-db-kv.ts'
export type { IndexedDbOptions } from './indexed-db-kv.ts'
export { scopedKv, sealedKv, sealedValueBytesMax } from './kv.ts'
