/**
 * Passphrases come from a file or from a person at a terminal, never from arguments (others see
 * them in `ps`) nor the environment (children and crash reports inherit it).
 *
 * They are bytes all the way, because a string cannot be wiped: a line is read byte by byte with
 * the terminal's echo off. Only one with letters beyond ASCII becomes a string for a moment, so
 * that it does not matter on which keyboard an accent was typed.
 */
import { open } from 'node:fs/promises'
import { equalBytes, utf8, utf8Decode, wipe } from '../crypto/bytes.ts'
import { OpenIMError } from '../crypto/errors.ts'
import { keysAreSealed, loadAnyKeys, loadKeys } from '../node/keys-file.ts'
import type { DeviceKeys, NodeKeys } from '../node/keys-file.ts'
import { limits } from '../protocol/limits.ts'
import type { CommandContext } from './context.ts'
import { option } from './context.ts'
import type { TerminalStreams } from './terminal.ts'

export interface PassphraseQuestion {
  /** `of the keys`: stands behind the word in the prompt. */
  readonly what: string
  /** Asked twice: nothing else would notice a slip of the finger. */
  readonly confirm: boolean
  /** Name of the option that may name a file. */
  readonly option?: 'passphraseFile' | 'newPassphraseFile' | 'keysPassphraseFile' | 'dbPasswordFile'
}

/** Where the usual flag is not the one. */
const flags = {
  passphraseFile: '',
  newPassphraseFile: ', --new-passphrase-file',
  keysPassphraseFile: ', --keys-passphrase-file',
  dbPasswordFile: ', --db-password-file',
} as const

/** UTF-8 in NFC; the caller wipes it. @throws USAGE_*, INTERRUPTED */
export async function askPassphrase(
  context: CommandContext,
  question: PassphraseQuestion,
): Promise<Uint8Array> {
  const path = option(context, question.option ?? 'passphraseFile')
  if (path !== undefined) return await passphraseFromFile(path)
  const { terminal } = context
  if (!terminal.interactive) {
    const which = `${question.what}${flags[question.option ?? 'passphraseFile']}`
    const what = `a passphrase is needed (${which}) and there is no terminal to ask`
    throw new OpenIMError('USAGE_NO_TERMINAL', what)
  }
  const first = checked(await askHidden(terminal.streams, `Passphrase ${question.what}: `))
  if (!question.confirm) return first
  const second = checked(await askHidden(terminal.streams, 'Once more: '))
  const isSame = equalBytes(first, second)
  wipe(second)
  if (isSame) return first
  wipe(first)
  throw new OpenIMError('USAGE_ARGUMENT', 'the two passphrases differ')
}

/**
 * The keys of a node or a linked device, after the passphrase if they have one.
 * @throws KEYS_*, DATA_DIR_*, USAGE_*, INTERRUPTED
 */
export async function unlock(context: CommandContext): Promise<NodeKeys | DeviceKeys> {
  const passphrase = await passphraseOfKeys(context)
  try {
    return await loadAnyKeys(context.paths.dataDir, passphrase)
  } finally {
    if (passphrase !== undefined) wipe(passphrase)
  }
}

/**
 * The keys of a node with the passphrase that opens them, to seal others like them; both the
 * caller's to wipe. @throws as `unlock`, and ACCOUNT_LINKED
 */
export async function unlockToSeal(
  context: CommandContext,
): Promise<{ keys: NodeKeys, passphrase: Uint8Array | undefined }> {
  const passphrase = await passphraseOfKeys(context)
  return { keys: await loadKeys(context.paths.dataDir, passphrase), passphrase }
}

async function passphraseOfKeys(context: CommandContext): Promise<Uint8Array | undefined> {
  if (!await keysAreSealed(context.paths.dataDir)) return undefined
  return await askPassphrase(context, { what: 'of the keys', confirm: false })
}

/** The first line of the file, without its line end. @throws USAGE_FILE, USAGE_ARGUMENT */
export async function passphraseFromFile(path: string): Promise<Uint8Array> {
  // One byte more than is allowed, so that what is too long is seen to be.
  const line = new Line(limits.passphraseBytesMax + 2)
  try {
    const file = await open(path, 'r')
    const buffer = new Uint8Array(line.bytesMax)
    try {
      while (!line.isComplete) {
        const { bytesRead } = await file.read(buffer, 0, buffer.length, null)
        if (bytesRead === 0) break
        for (const byte of buffer.subarray(0, bytesRead)) line.add(byte)
      }
    } finally {
      wipe(buffer)
      await file.close()
    }
  } catch (cause) {
    throw new OpenIMError('USAGE_FILE', `cannot read the passphrase file ${path}`, { cause })
  }
  return checked(line.end())
}

const lineFeed = 0x0a
const carriageReturn = 0x0d

/** Bytes up to the end of a line, in one buffer that is wiped when they are handed over. */
class Line {
  readonly bytesMax: number
  readonly #bytes: Uint8Array
  #length = 0
  #isComplete = false

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax
    this.#bytes = new Uint8Array(bytesMax)
  }

  get isComplete(): boolean {
    return this.#isComplete || this.#length === this.bytesMax
  }

  get isEmpty(): boolean {
    return this.#length === 0
  }

  add(byte: number): void {
    if (byte === lineFeed) this.#isComplete = true
    if (!this.isComplete) this.#bytes[this.#length++] = byte
  }

  /** The last character, all its bytes. */
  erase(): void {
    while (this.#length > 0 && (this.#bytes[--this.#length]! & 0xc0) === 0x80);
  }

  clear(): void {
    this.#length = 0
  }

  end(): Uint8Array {
    const hasReturn = this.#length > 0 && this.#bytes[this.#length - 1] === carriageReturn
    const line = this.#bytes.slice(0, hasReturn ? this.#length - 1 : this.#length)
    wipe(this.#bytes)
    return line
  }
}

/** @throws USAGE_ARGUMENT */
function checked(line: Uint8Array): Uint8Array {
  const bytes = line.every((byte) => byte < 0x80) ? line : normalised(line)
  if (bytes.length === 0) throw new OpenIMError('USAGE_ARGUMENT', 'the passphrase is empty')
  if (bytes.length > limits.passphraseBytesMax) {
    const limit = limits.passphraseBytesMax
    throw new OpenIMError('USAGE_ARGUMENT', `a passphrase has at most ${limit} bytes`)
  }
  return bytes
}

function normalised(line: Uint8Array): Uint8Array {
  try {
    return utf8(utf8Decode(line).normalize('NFC'))
  } catch (cause) {
    throw new OpenIMError('USAGE_ARGUMENT', 'the passphrase is not UTF-8 text', { cause })
  } finally {
    wipe(line)
  }
}

// ── At a terminal ───────────────────────────────────────────────────────────────────────────

const keys = { interrupt: 0x03, endOfInput: 0x04, backspace: 0x08, clear: 0x15, escape: 0x1b, delete: 0x7f }

/** @throws INTERRUPTED, USAGE_NO_TERMINAL when the input ends */
async function askHidden({ stdin, stderr }: TerminalStreams, question: string): Promise<Uint8Array> {
  const line = new Line(limits.passphraseBytesMax + 2)
  stderr.write(question)
  stdin.setRawMode?.(true)
  try {
    await new Promise<void>((resolve, reject) => {
      const done = (error?: OpenIMError): void => {
        stdin.off('data', onData)
        stdin.off('end', onEnd)
        stdin.pause()
        if (error === undefined) resolve()
        else reject(error)
      }
      const onEnd = (): void => done(new OpenIMError('USAGE_NO_TERMINAL', 'no passphrase was typed'))
      const onData = (chunk: Uint8Array): void => {
        const { rest, outcome } = typed(line, chunk)
        if (outcome === undefined) return
        if (outcome === 'interrupted') done(new OpenIMError('INTERRUPTED', 'interrupted'))
        else if (outcome === 'ended') onEnd()
        else done()
        // Pasted in one go: the rest answers the next question.
        if (rest.length > 0) stdin.unshift(rest)
      }
      stdin.on('data', onData)
      stdin.once('end', onEnd)
      // After a question before this one it is paused.
      stdin.resume()
    })
    return line.end()
  } finally {
    stdin.setRawMode?.(false)
    stderr.write('\n')
  }
}

/** Edits the line as a terminal would; wipes the chunk, but for what follows the end of the line. */
function typed(line: Line, chunk: Uint8Array): {
  rest: Uint8Array, outcome: 'line' | 'interrupted' | 'ended' | undefined
} {
  for (const [at, byte] of chunk.entries()) {
    const outcome = keyOutcome(line, byte)
    if (outcome === 'line' || outcome === 'interrupted' || outcome === 'ended') {
      // A copy: `slice` of a Buffer is a view.
      const rest = new Uint8Array(chunk.subarray(at + 1))
      wipe(chunk)
      return { rest, outcome }
    }
    // An arrow or function key: it and what belongs to it come in one chunk.
    if (outcome === 'ignore rest') break
  }
  wipe(chunk)
  return { rest: new Uint8Array(0), outcome: undefined }
}

function keyOutcome(
  line: Line,
  byte: number,
): 'line' | 'interrupted' | 'ended' | 'ignore rest' | undefined {
  if (byte === lineFeed || byte === carriageReturn) return 'line'
  if (byte === keys.interrupt) return 'interrupted'
  if (byte === keys.endOfInput && line.isEmpty) return 'ended'
  if (byte === keys.escape) return 'ignore rest'
  if (byte === keys.delete || byte === keys.backspace) line.erase()
  else if (byte === keys.clear) line.clear()
  else if (byte >= 0x20) line.add(byte)
  return undefined
}
