/** `submit`: an envelope into the outbox; the receipts come from there. */
import { errorCode } from '../../../crypto/errors.ts'
import type { FrameHandler } from '../handler.ts'
import { refusalDetail } from '../refusal-detail.ts'

export const handleSubmit: FrameHandler<'submit'> = async ({ messenger, device, reply }, frame) => {
  try {
    await messenger.submit(device.id, frame)
  } catch (error) {
    const code = errorCode(error)
    // A full disk or a malformed envelope: the device keeps its copy and hears why.
    if (code === undefined) throw error
    await reply({ type: 'refusal', request: 0, code, detail: refusalDetail(error) })
  }
}
