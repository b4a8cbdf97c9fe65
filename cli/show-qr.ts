/** Shows a QR code to a person, with a few lines beside it. Fits 80 × 24 for up to 106 bytes. */
import type { CommandContext } from './context.ts'

/** White on black whatever the theme: readers want dark modules on a light ground. */
const paint = (line: string): string => `\u001b[97;40m${line}\u001b[0m`

/** Where nobody looks nothing is shown. */
export async function showQr(
  { terminal }: CommandContext,
  text: string,
  beside: readonly string[],
): Promise<void> {
  if (!terminal.watched || terminal.json) return
  const { qrLines } = await import('./qr.ts')
  const lines = qrLines(text, terminal.colours('stderr') ? paint : undefined)
  lines.forEach((line, i) => terminal.say(beside[i - 2] === undefined ? line : `${line}  ${beside[i - 2]}`))
}
