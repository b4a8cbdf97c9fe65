/** `acknowledge`: the device has this mail durably. */
import type { FrameHandler } from '../handler.ts'

export const handleAcknowledge: FrameHandler<'acknowledge'> = ({ messenger, device }, frame) =>
  messenger.acknowledge(device, frame.box, frame.envelopeIds)
