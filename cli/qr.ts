/** A QR code in half blocks: an invite (≤ 106 bytes) makes version 5, 41 columns × 21 rows. */
import { renderUnicodeCompact } from 'uqr'

/** The standard asks for four; phones read two, and four would not fit 80 × 24 with the URI. */
const quietZone = 2

/** Light modules are drawn, so it reads right on a dark terminal; `paint` makes sure of the colours. */
export function qrLines(text: string, paint?: (line: string) => string): string[] {
  const lines = renderUnicodeCompact(text, { ecc: 'L', border: quietZone }).split('\n')
  return paint === undefined ? lines : lines.map(paint)
}
