/** Which handler answers which frame; a frame that is not here is not for a node. */
import type { Frame } from '../../../protocol/frame/frame.ts'
import type { FrameHandler } from '../handler.ts'
import { handleAcknowledge } from './acknowledge.ts'
import { handleFileBox, handleFileFetch, handleFilePut } from './file.ts'
import { handleDevices } from './devices.ts'
import { handleInbox } from './inbox.ts'
import { handleLinkClosed, handleLinkMessage, handleLinkOpen } from './link.ts'
import { handleLocate, handlePublish } from './location.ts'
import { handleShelfHolders, handleShelfPut, handleShelfTake } from './shelf.ts'
import { handleSubmit } from './submit.ts'
import { handleWithdraw } from './withdraw.ts'

export const frameHandlers: { readonly [T in Frame['type']]?: FrameHandler<T> } = {
  submit: handleSubmit,
  withdraw: handleWithdraw,
  acknowledge: handleAcknowledge,
  inbox: handleInbox,
  fileBox: handleFileBox,
  filePut: handleFilePut,
  fileFetch: handleFileFetch,
  shelfHolders: handleShelfHolders,
  shelfPut: handleShelfPut,
  shelfTake: handleShelfTake,
  publish: handlePublish,
  locate: handleLocate,
  devices: handleDevices,
  linkOpen: handleLinkOpen,
  linkMessage: handleLinkMessage,
  linkClosed: handleLinkClosed,
}
