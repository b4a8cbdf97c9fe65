/** `inbox`: become home to an inbox, or give it up. */
import type { FrameHandler } from '../handler.ts'

export const handleInbox: FrameHandler<'inbox'> = async ({ messenger, device, homes, reply }, frame) => {
  const { box, replicas } = await messenger.inbox(device.account, frame)
  await reply({
    type: 'inboxState', request: frame.request, box, homes: [...homes], replicas: [...replicas],
  })
}
