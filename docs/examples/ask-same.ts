/** Asks at the terminal whether the account's first device shows the same digits and pictures. */
import { createInterface } from 'node:readline/promises'
import type { LinkDeviceOptions } from 'openim/client'

export const askSame: LinkDeviceOptions['compare'] = async ({ code, name }) => {
  process.stdout.write(`Account of ${name}.  Does the other screen show the same?\n`)
  process.stdout.write(`  ${code.digits}\n  ${code.pictures.map((picture) => picture.name).join(', ')}\n`)
  const terminal = createInterface({ input: process.stdin, output: process.stdout })
  const answer = await terminal.question('The same? [y/N] ')
  terminal.close()
  return answer.trim().toLowerCase() === 'y'
}
