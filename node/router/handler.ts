/**
 * The shape of a frame handler, and what handlers may reach. One file per frame in `handlers/`,
 * all with the same signature, listed in `handlers/index.ts`.
 */
import type { Result } from '../../crypto/errors.ts'
import type { FileBoxFrame, FileFetchFrame } from '../../protocol/frame/file.ts'
import type { Frame } from '../../protocol/frame/frame.ts'
import type { InboxFrame } from '../../protocol/frame/inbox.ts'
import type { ShelfHolder, ShelfTakeFrame } from '../../protocol/frame/shelf.ts'
import type { SubmitFrame } from '../../protocol/frame/submit.ts'
import type { BoxId, EnvelopeId, NodeId } from '../../protocol/ids.ts'
import type { FetchReply } from '../../protocol/service/fetch.ts'
import type { ShelfTaken } from '../../protocol/service/shelf.ts'
import type { KnownDevice } from './accounts.ts'

/** Where a file box is held, and who signed for what. */
export interface FileHeld {
  readonly box: BoxId
  readonly replicas: readonly NodeId[]
  readonly pieces: number
  readonly proofs: readonly Uint8Array[]
}

/** The Messenger, as the Router needs it. */
export interface MessengerPort {
  submit(device: string, frame: SubmitFrame): Promise<void>
  withdraw(ids: readonly EnvelopeId[]): Promise<void>
  acknowledge(device: KnownDevice, box: BoxId, ids: readonly EnvelopeId[]): Promise<void>
  inbox(account: string, frame: InboxFrame): Promise<{
    readonly box: BoxId
    readonly replicas: readonly NodeId[]
  }>
  fileBox(account: string, frame: FileBoxFrame): Promise<FileHeld>
  filePut(account: string, envelope: Uint8Array): Promise<FileHeld>
  fileFetch(account: string, frame: FileFetchFrame): Promise<Result<FetchReply>>
  shelfHolders(
    account: string,
    shelf: { readonly shelfKey: Uint8Array, readonly placement: Uint8Array },
  ): Promise<ShelfHolder[]>
  /** Settles when no mail waits for a device that is gone. */
  onDeviceRemoved(account: string): Promise<void>
  shelfPut(account: string, puts: readonly Uint8Array[]): Promise<{
    readonly shelfKey: Uint8Array
    readonly holders: ShelfHolder[]
  }>
  shelfTake(frame: Pick<ShelfTakeFrame, 'shelfKey' | 'holders'>): Promise<ShelfTaken | undefined>
  attach(device: KnownDevice & { send(frame: Frame): Promise<void> }): () => void
}

/** The location database, as the Router needs it. */
export interface LocationPort {
  publish(records: readonly Uint8Array[]): Promise<number>
  /** @param hint multiaddr to dial first, or empty */
  locate(blindedKeys: readonly Uint8Array[], hint: string): Promise<Uint8Array[]>
}

/** Where new devices knock, as handlers need it. */
export interface LobbyPort {
  /** @throws LINK_BUSY */
  open(device: string, guestKey: Uint8Array, tell: (frame: Frame) => void): { readonly expiresAtMs: number }
  fromDevice(device: string, frame: Frame): void
  close(device: string, code: string): void
}

export interface HandlerContext {
  /** Of this household, ourselves first. */
  readonly homes: readonly NodeId[]
  readonly device: KnownDevice
  readonly messenger: MessengerPort
  readonly locations: LocationPort
  readonly lobby: LobbyPort
  /**
   * Sets which devices of the account may log in besides this one, which must be its primary.
   * @throws DEVICE_NOT_PRIMARY, DEVICE_TAKEN
   */
  setDevices(linkKeys: readonly Uint8Array[]): Promise<void>
  /** Queues an answer to this device. */
  reply(frame: Frame): Promise<void>
}

/**
 * Handles one frame. A throw with an `OpenIMError` refuses the request with its code; handlers of
 * frames without a request number do not throw for what a device can cause.
 */
export type FrameHandler<T extends Frame['type']> = (
  context: HandlerContext,
  frame: Extract<Frame, { type: T }>,
) => Promise<void>
