/** `fileBox`, `filePut`, `fileFetch`: own file boxes out, and other people's in. */
import type { HandlerContext, FrameHandler } from '../handler.ts'

export const handleFileBox: FrameHandler<'fileBox'> = async (context, frame) => {
  const held = await context.messenger.fileBox(context.device.account, frame)
  await replyHeld(context, frame.request, held)
}

export const handleFilePut: FrameHandler<'filePut'> = async (context, frame) => {
  const held = await context.messenger.filePut(context.device.account, frame.envelope)
  await replyHeld(context, frame.request, held)
}

export const handleFileFetch: FrameHandler<'fileFetch'> = async ({ messenger, device, reply }, frame) => {
  const { request } = frame
  const fetched = await messenger.fileFetch(device.account, frame)
  await reply(fetched.ok
    ? { type: 'fileFetched', request, ...fetched.value }
    : { type: 'refusal', request, code: fetched.code, detail: fetched.detail ?? '' })
}

type Held = Awaited<ReturnType<HandlerContext['messenger']['fileBox']>>

function replyHeld({ homes, reply }: HandlerContext, request: number, held: Held): Promise<void> {
  const { box, replicas, pieces, proofs } = held
  return reply({
    type: 'fileHeld', request, box, homes: [...homes], replicas: [...replicas], pieces, proofs: [...proofs],
  })
}
