/**
 * The application frames between a device and its node, as one union: a type byte, then the body.
 * They travel inside the numbered session (protocol/session/), which brings each over once and in
 * order. Types below 16 belong to the session itself. One file per frame beside this one.
 */
import { OpenIMError } from '../../crypto/errors.ts'
import type { Result } from '../../crypto/errors.ts'
import { Reader } from '../codec/reader.ts'
import type { Codec } from '../codec/struct.ts'
import { Writer } from '../codec/writer.ts'
import { acknowledgeCodec } from './acknowledge.ts'
import type { AcknowledgeFrame } from './acknowledge.ts'
import { deliverCodec } from './deliver.ts'
import type { DeliverFrame } from './deliver.ts'
import { devicesCodec, devicesSetCodec } from './devices.ts'
import type { DevicesFrame, DevicesSetFrame } from './devices.ts'
import { doorsCodec } from './doors.ts'
import type { DoorsFrame } from './doors.ts'
import {
  fileBoxCodec, fileFetchCodec, fileFetchedCodec, fileHeldCodec, filePutCodec,
} from './file.ts'
import type {
  FileBoxFrame, FileFetchedFrame, FileFetchFrame, FileHeldFrame, FilePutFrame,
} from './file.ts'
import { inboxStateCodec } from './inbox-state.ts'
import type { InboxStateFrame } from './inbox-state.ts'
import { inboxCodec } from './inbox.ts'
import type { InboxFrame } from './inbox.ts'
import { linkClosedCodec, linkMessageCodec, linkOpenCodec, linkOpenedCodec } from './link.ts'
import type { LinkClosedFrame, LinkMessageFrame, LinkOpenedFrame, LinkOpenFrame } from './link.ts'
import { locateCodec, locatedCodec, publishCodec, publishedCodec } from './location.ts'
import type { LocatedFrame, LocateFrame, PublishedFrame, PublishFrame } from './location.ts'
import { receiptCodec } from './receipt.ts'
import type { ReceiptFrame } from './receipt.ts'
import { refusalCodec } from './refusal.ts'
import type { RefusalFrame } from './refusal.ts'
import {
  shelfHeldCodec, shelfHoldersCodec, shelfPutCodec, shelfTakeCodec, shelfTakenFrameCodec,
} from './shelf.ts'
import type {
  ShelfHeldFrame, ShelfHoldersFrame, ShelfPutFrame, ShelfTakeFrame, ShelfTakenFrame,
} from './shelf.ts'
import { submitCodec } from './submit.ts'
import type { SubmitFrame } from './submit.ts'
import { withdrawCodec } from './withdraw.ts'
import type { WithdrawFrame } from './withdraw.ts'

export type Frame =
  | SubmitFrame | ReceiptFrame | WithdrawFrame | DeliverFrame | AcknowledgeFrame
  | InboxFrame | InboxStateFrame
  | FileBoxFrame | FilePutFrame | FileHeldFrame | FileFetchFrame | FileFetchedFrame
  | ShelfHoldersFrame | ShelfHeldFrame | ShelfPutFrame | ShelfTakeFrame | ShelfTakenFrame
  | PublishFrame | PublishedFrame | LocateFrame | LocatedFrame
  | DevicesFrame | DevicesSetFrame
  | LinkOpenFrame | LinkOpenedFrame | LinkMessageFrame | LinkClosedFrame
  | DoorsFrame | RefusalFrame

type FrameCodecs = {
  readonly [T in Frame['type']]: {
    readonly code: number
    readonly codec: Codec<Omit<Extract<Frame, { type: T }>, 'type'>>
  }
}

/** The wire code of each frame; the first one is 16. */
export const frameCodecs: FrameCodecs = {
  submit: { code: 16, codec: submitCodec },
  receipt: { code: 17, codec: receiptCodec },
  withdraw: { code: 18, codec: withdrawCodec },
  deliver: { code: 19, codec: deliverCodec },
  acknowledge: { code: 20, codec: acknowledgeCodec },
  inbox: { code: 21, codec: inboxCodec },
  inboxState: { code: 22, codec: inboxStateCodec },
  shelfHolders: { code: 23, codec: shelfHoldersCodec },
  shelfHeld: { code: 24, codec: shelfHeldCodec },
  shelfPut: { code: 25, codec: shelfPutCodec },
  shelfTake: { code: 26, codec: shelfTakeCodec },
  shelfTaken: { code: 27, codec: shelfTakenFrameCodec },
  publish: { code: 28, codec: publishCodec },
  published: { code: 29, codec: publishedCodec },
  locate: { code: 30, codec: locateCodec },
  located: { code: 31, codec: locatedCodec },
  refusal: { code: 32, codec: refusalCodec },
  devices: { code: 33, codec: devicesCodec },
  devicesSet: { code: 34, codec: devicesSetCodec },
  linkOpen: { code: 35, codec: linkOpenCodec },
  linkOpened: { code: 36, codec: linkOpenedCodec },
  linkMessage: { code: 37, codec: linkMessageCodec },
  linkClosed: { code: 38, codec: linkClosedCodec },
  doors: { code: 39, codec: doorsCodec },
  fileBox: { code: 40, codec: fileBoxCodec },
  filePut: { code: 41, codec: filePutCodec },
  fileHeld: { code: 42, codec: fileHeldCodec },
  fileFetch: { code: 43, codec: fileFetchCodec },
  fileFetched: { code: 44, codec: fileFetchedCodec },
}

const byCode = new Map(
  Object.entries(frameCodecs).map(([type, { code, codec }]) => [code, { type, codec }]),
)

export function encodeFrame(frame: Frame): Uint8Array {
  return writeFrame(new Writer(), frame)
}

/** Longer frames get memory of their own, so that one of them does not stay for good. */
const sharedBytesMax = 64 * 1_024
let shared = new Writer(sharedBytesMax)

/** As `encodeFrame`, into memory that the next call overwrites: for who copies it at once. */
export function encodeFrameShared(frame: Frame): Uint8Array {
  shared.reset()
  const bytes = writeFrame(shared, frame)
  if (bytes.length > sharedBytesMax) shared = new Writer(sharedBytesMax)
  return bytes
}

function writeFrame(writer: Writer, frame: Frame): Uint8Array {
  const { code, codec } = frameCodecs[frame.type]
  writer.u8(code)
  ;(codec as Codec<Frame>).write(writer, frame)
  return writer.finish()
}

/** All of `bytes`, or a refusal with code and offset. */
export function decodeFrame(bytes: Uint8Array): Result<Frame> {
  const reader = new Reader(bytes)
  try {
    const code = reader.u8()
    const entry = byCode.get(code)
    if (entry === undefined) throw reader.refuse('CODEC_UNKNOWN', `frame type ${code} is not known`)
    const body = entry.codec.read(reader)
    reader.end()
    return { ok: true, value: { type: entry.type, ...body } as Frame }
  } catch (error) {
    if (error instanceof OpenIMError && error.code.startsWith('CODEC_')) {
      return { ok: false, code: error.code, detail: error.message }
    }
    throw error
  }
}
