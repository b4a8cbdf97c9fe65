/** Questions to a person at a terminal, and lines that a script writes instead. */
import { createInterface } from 'node:readline'
import type { Interface } from 'node:readline'
import { OpenIMError } from '../crypto/errors.ts'
import type { Terminal } from './terminal.ts'

/** Without blanks around it; empty when the input ends, or `signal` aborts. @throws INTERRUPTED */
export async function ask({ streams }: Terminal, question: string, signal?: AbortSignal): Promise<string> {
  const reader = createInterface({ input: streams.stdin, output: streams.stderr, terminal: true })
  const close = (): void => reader.close()
  signal?.addEventListener('abort', close)
  try {
    return await new Promise<string>((resolve, reject) => {
      reader.once('SIGINT', () => reject(new OpenIMError('INTERRUPTED', 'interrupted')))
      reader.once('close', () => resolve(''))
      reader.question(question, (line) => resolve(line.trim()))
      if (signal?.aborted === true) close()
    })
  } finally {
    signal?.removeEventListener('abort', close)
    reader.close()
  }
}

/** The lines of stdin, one at a time; it is not touched before the first is asked for. */
export class InputLines {
  readonly #terminal: Terminal
  #reader: Interface | undefined
  #lines: AsyncIterator<string> | undefined

  constructor(terminal: Terminal) {
    this.#terminal = terminal
  }

  /** Without blanks around it; undefined at the end, or when `signal` aborts. */
  async next(signal?: AbortSignal): Promise<string | undefined> {
    const { promise: given, resolve: giveUp } = Promise.withResolvers<undefined>()
    const abort = (): void => giveUp(undefined)
    signal?.addEventListener('abort', abort)
    if (signal?.aborted === true) abort()
    this.#reader ??= createInterface({ input: this.#terminal.streams.stdin })
    this.#lines ??= this.#reader[Symbol.asyncIterator]()
    try {
      const line = await Promise.race([this.#lines.next(), given])
      return line === undefined || line.done === true ? undefined : line.value.trim()
    } finally {
      signal?.removeEventListener('abort', abort)
    }
  }

  close(): void {
    this.#reader?.close()
  }
}
