/** `shelfHolders`, `shelfPut`, `shelfTake`: prekeys out, and other people's in. */
import type { FrameHandler } from '../handler.ts'

export const handleShelfHolders: FrameHandler<'shelfHolders'> = async (context, frame) => {
  const { messenger, device, reply } = context
  const holders = await messenger.shelfHolders(device.account, frame)
  await reply({ type: 'shelfHeld', request: frame.request, shelfKey: frame.shelfKey, holders })
}

export const handleShelfPut: FrameHandler<'shelfPut'> = async ({ messenger, device, reply }, frame) => {
  const { shelfKey, holders } = await messenger.shelfPut(device.account, frame.puts)
  await reply({ type: 'shelfHeld', request: frame.request, shelfKey, holders })
}

export const handleShelfTake: FrameHandler<'shelfTake'> = async ({ messenger, reply }, frame) => {
  const taken = await messenger.shelfTake(frame)
  await reply({ type: 'shelfTaken', request: frame.request, taken })
}
