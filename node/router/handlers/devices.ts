/** `devices`: which devices of the account may log in. */
import type { FrameHandler } from '../handler.ts'

export const handleDevices: FrameHandler<'devices'> = async ({ setDevices, reply }, frame) => {
  await setDevices(frame.linkKeys)
  await reply({ type: 'devicesSet', request: frame.request })
}
