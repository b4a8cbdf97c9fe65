/** `withdraw`: the device holds delivery receipts, the copies may go. */
import type { FrameHandler } from '../handler.ts'

export const handleWithdraw: FrameHandler<'withdraw'> = ({ messenger }, frame) =>
  messenger.withdraw(frame.envelopeIds)
