/**
 * Two commands that wait for each other, `openim link` and `openim join`, as a script drives them:
 * each reads the other's digits from the test, which is the person with two screens.
 */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { CliNode } from './cli-node.ts'

const cliPath = new URL('../../cli/openim.ts', import.meta.url).pathname

/** A line of `--json`. */
export interface LinkLine {
  readonly event: 'code' | 'comparing' | 'linked'
  readonly uri: string
  readonly digits: string
  readonly pictures: readonly string[]
  readonly address: string
  readonly device: string
  readonly account: string
}

/** A command in progress. */
export class LinkCommand {
  readonly #process: ChildProcess
  readonly #lines: AsyncIterator<string>
  readonly #ended: Promise<number | null>
  stderr = ''

  constructor(args: readonly string[]) {
    const child = spawn(process.execPath, [cliPath, ...args, '--json'], { stdio: ['pipe', 'pipe', 'pipe'] })
    this.#process = child
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
    this.#ended = once(child, 'close').then(([code]) => code as number | null)
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => { this.stderr += chunk })
    child.stdin.on('error', () => {})
  }

  /** The next line; undefined at the end. */
  async line(): Promise<LinkLine | undefined> {
    const { value, done } = await this.#lines.next()
    return done === true ? undefined : JSON.parse(value as string) as LinkLine
  }

  answer(text: string): void {
    this.#process.stdin!.write(`${text}\n`)
  }

  interrupt(): void {
    this.#process.kill('SIGINT')
  }

  hangUp(): void {
    this.#process.stdin!.end()
  }

  end(): Promise<number | null> {
    return this.#ended
  }
}

export interface Pairing {
  readonly link: LinkCommand
  readonly join: LinkCommand
  readonly code: string
  /** Of each screen. */
  readonly shown: { readonly link: LinkLine, readonly join: LinkLine }
}

/** Up to where both screens show their digits. */
export async function beginLinking(home: CliNode, device: CliNode): Promise<Pairing> {
  const link = new LinkCommand(['link', '--data', home.dataDir])
  const offer = await link.line()
  if (offer === undefined) throw new Error(`link ended: ${link.stderr}`)
  const join = new LinkCommand(['join', offer.uri, '--name', device.name, '--data', device.dataDir])
  const shown = { link: await link.line(), join: await join.line() }
  if (shown.link === undefined || shown.join === undefined) {
    throw new Error(`no digits: ${link.stderr} ${join.stderr}`)
  }
  return { link, join, code: offer.uri, shown: { link: shown.link, join: shown.join } }
}

/** All of it; the device can be started then. */
export async function linkDevice(home: CliNode, device: CliNode): Promise<Pairing> {
  const pairing = await beginLinking(home, device)
  const { link, join, shown } = pairing
  link.answer(shown.join.digits)
  join.answer(shown.link.digits)
  const exits = await Promise.all([link.end(), join.end()])
  if (exits.some((code) => code !== 0)) throw new Error(`${exits.join(' ')}: ${link.stderr} ${join.stderr}`)
  return pairing
}
