/** What a device is told of an error besides its code: one sentence that fits into `refusal`. */
import { limits } from '../../protocol/limits.ts'

/** Not printable ASCII is masked, so that characters are bytes and the field's limit holds. */
export function refusalDetail(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error)
  return message.replace(/[^ -~]/g, '?').slice(0, limits.refusalDetailBytesMax)
}
