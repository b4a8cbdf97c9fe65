/**
 * Passphrases come from a file or from a person at a terminal, never from arguments (others see
 * them in `ps`) nor the environment (children and crash reports inherit it).
 */
import { readFile } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { Writable } from 'node:stream'
import { equalBytes, utf8 } from '../crypto/bytes.ts'
import { OpenIMError } from '../crypto/errors.ts'
import { limits } from '../protocol/limits.ts'
import type { CommandContext } from './context.ts'
import { option } from './context.ts'

/** The file of `--passphrase-file`, or a question; `confirm` asks twice. @throws USAGE_* */
export async function askPassphrase(
  context: CommandContext,
  question: { what: string, confirm: boolean },
): Promise<Uint8Array> {
  const path = option(context, 'passphraseFile')
  if (path !== undefined) return passphraseFromFile(path)
  const { terminal } = context
  if (!terminal.interactive) {
    const what = `a passphrase is needed (${question.what}) and there is no terminal to ask`
    throw new OpenIMError('USAGE_NO_TERMINAL', what)
  }
  const first = await askHidden(context, `Passphrase ${question.what}: `)
  if (question.confirm) {
    const second = await askHidden(context, 'Once more: ')
    if (!equalBytes(first, second)) throw new OpenIMError('USAGE_ARGUMENT', 'the two passphrases differ')
  }
  return first
}

/** The first line of the file, without its line end. @throws USAGE_FILE, USAGE_ARGUMENT */
export async function passphraseFromFile(path: string): Promise<Uint8Array> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (cause) {
    throw new OpenIMError('USAGE_FILE', `cannot read the passphrase file ${path}`, { cause })
  }
  return checked(text.split(/\r?\n/, 1)[0] ?? '')
}

/** One normal form, so that it does not matter on which keyboard an accent was typed. */
function checked(text: string): Uint8Array {
  const bytes = utf8(text.normalize('NFC'))
  if (bytes.length === 0) throw new OpenIMError('USAGE_ARGUMENT', 'the passphrase is empty')
  if (bytes.length > limits.passphraseBytesMax) {
    const limit = limits.passphraseBytesMax
    throw new OpenIMError('USAGE_ARGUMENT', `a passphrase has at most ${limit} bytes, got ${bytes.length}`)
  }
  return bytes
}

async function askHidden(context: CommandContext, question: string): Promise<Uint8Array> {
  const { stdin, stderr } = context.terminal.streams
  // readline echoes to its output; an output that swallows is what "no echo" takes.
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() })
  const reader = createInterface({ input: stdin, output: nowhere, terminal: true })
  stderr.write(question)
  try {
    const line = await new Promise<string>((resolve, reject) => {
      reader.once('line', resolve)
      reader.once('SIGINT', () => reject(new OpenIMError('INTERRUPTED', 'interrupted')))
      reader.once('close', () => reject(new OpenIMError('USAGE_NO_TERMINAL', 'no passphrase was typed')))
    })
    return checked(line)
  } finally {
    reader.close()
    stderr.write('\n')
  }
}
