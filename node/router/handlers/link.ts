/** `linkOpen`, `linkMessage`, `linkClosed`: a device lets a new one in (link-lobby.ts). */
import type { FrameHandler } from '../handler.ts'

export const handleLinkOpen: FrameHandler<'linkOpen'> = async ({ device, lobby, reply }, frame) => {
  const { expiresAtMs } = lobby.open(device.id, frame.guestKey, (told) => {
    // A device that is gone learns from its silence that nothing comes of it.
    reply(told).catch(() => {})
  })
  await reply({ type: 'linkOpened', request: frame.request, expiresAtMs })
}

export const handleLinkMessage: FrameHandler<'linkMessage'> = async ({ device, lobby }, frame) => {
  lobby.fromDevice(device.id, frame)
}

export const handleLinkClosed: FrameHandler<'linkClosed'> = async ({ device, lobby }, frame) => {
  lobby.close(device.id, frame.code)
}
