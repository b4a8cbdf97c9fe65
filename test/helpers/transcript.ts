/**
 * Transcripts of the CLI as tests: a text file of commands with what they must print.
 *
 * ```text
 *   # a comment
 *   $ openim status --jsno
 *   2| openim: unknown option '--jsno'. Did you mean --json?
 *   2| See openim status --help
 *   exit 2
 * ```
 *
 * `1| ` is a line of stdout, `2| ` of stderr; no `exit` line means 0. A command runs in `sh`, in a
 * folder of its own, with `openim` on its path. `@start NAME [OPTIONS]` runs a node in the
 * background until `@stop NAME`, `@device NAME` a linked device; `ADDR(NAME)` in a command is where
 * that node can be dialled.
 * What differs from run to run (addresses, ids, invites, ports, times) is replaced by a name.
 *
 * `OPENIM_WRITE_TRANSCRIPTS=1` writes what happened into the files: read the diff.
 */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

const cli = new URL('../../cli/openim.ts', import.meta.url).pathname

interface RunningNode {
  readonly process: ChildProcess
  readonly ended: Promise<number | null>
  readonly address: string
}

export class TranscriptRun {
  readonly #work: string
  readonly #nodes = new Map<string, RunningNode>()

  private constructor(work: string) {
    this.#work = work
  }

  /** @param files to lay out in the folder before the first command */
  static async create(files: Readonly<Record<string, string>> = {}): Promise<TranscriptRun> {
    const work = await mkdtemp(join(tmpdir(), 'openim-transcript-'))
    await mkdir(join(work, 'bin'))
    await mkdir(join(work, 'home'))
    const wrapper = join(work, 'bin', 'openim')
    await writeFile(wrapper, `#!/bin/sh\nexec '${process.execPath}' '${cli}' "$@"\n`)
    await chmod(wrapper, 0o755)
    for (const [name, text] of Object.entries(files)) await writeFile(join(work, name), text)
    return new TranscriptRun(work)
  }

  /** Runs every command of the text and gives the transcript as it really was. */
  async play(text: string): Promise<string> {
    const out: string[] = []
    for (const line of text.split('\n')) {
      if (line.startsWith('$ ')) out.push(line, ...await this.#command(line.slice(2)))
      else if (line === '' || line.startsWith('#')) out.push(line)
    }
    return out.join('\n')
  }

  async close(): Promise<void> {
    for (const name of [...this.#nodes.keys()]) await this.#stop(name)
    await rm(this.#work, { recursive: true, force: true })
  }

  async #command(command: string): Promise<string[]> {
    const [word = '', name = '', ...options] = command.split(' ')
    const listen = ['--p2p-listen', '/ip4/127.0.0.1/tcp/0']
    if (word === '@start') return await this.#start(name, [...listen, ...options])
    if (word === '@device') return await this.#start(name, options)
    if (word === '@stop') return await this.#stop(name)
    const child = this.#spawn('sh', ['-c', this.#resolve(command)])
    let stdout = ''
    let stderr = ''
    child.stdout!.setEncoding('utf8').on('data', (chunk: string) => { stdout += chunk })
    child.stderr!.setEncoding('utf8').on('data', (chunk: string) => { stderr += chunk })
    const [code] = await once(child, 'close') as [number | null]
    return [...this.#marked('1| ', stdout), ...this.#marked('2| ', stderr), ...exitLine(code)]
  }

  async #start(name: string, options: readonly string[]): Promise<string[]> {
    const args = ['start', '--json', '--data', name, ...options.map((one) => this.#resolve(one))]
    const child = this.#spawn(process.execPath, [cli, ...args])
    let stderr = ''
    child.stderr!.setEncoding('utf8').on('data', (chunk: string) => { stderr += chunk })
    const lines = createInterface({ input: child.stdout! })
    const ended = once(child, 'close').then(([code]) => code as number | null)
    const line = once(lines, 'line').then(([text]) => text as string)
    const first = await Promise.race([line, ended])
    if (typeof first !== 'string') return [...this.#marked('2| ', stderr), ...exitLine(first)]
    const ready = JSON.parse(first) as { p2p?: [string] }
    this.#nodes.set(name, { process: child, ended, address: ready.p2p?.[0] ?? 'none' })
    return []
  }

  async #stop(name: string): Promise<string[]> {
    const node = this.#nodes.get(name)
    if (node === undefined) return ['not running']
    this.#nodes.delete(name)
    node.process.kill('SIGTERM')
    return exitLine(await node.ended)
  }

  #spawn(command: string, args: readonly string[]): ChildProcess {
    const env = {
      PATH: `${join(this.#work, 'bin')}:${process.env['PATH']}`,
      HOME: join(this.#work, 'home'),
      TMPDIR: tmpdir(),
      TZ: 'UTC',
      // Nodes of other tests on this machine are none of these people's business.
      OPENIM_MDNS: 'false',
    }
    return spawn(command, args, { cwd: this.#work, env, stdio: ['ignore', 'pipe', 'pipe'] })
  }

  #resolve(text: string): string {
    const address = (_: string, name: string): string => this.#nodes.get(name)?.address ?? 'not-running'
    return text.replace(/ADDR\((\w+)\)/g, address)
  }

  #marked(mark: string, text: string): string[] {
    if (text === '') return []
    const lines = normalised(text.replaceAll(this.#work, 'WORK')).replace(/\n$/, '').split('\n')
    return lines.map((line) => `${mark}${line}`.trimEnd())
  }
}

function exitLine(code: number | null): string[] {
  return code === 0 ? [] : [`exit ${code ?? 'by signal'}`]
}

const replacements: readonly (readonly [RegExp, string])[] = [
  [/oim1[02-9ac-hj-np-z]{59}/g, 'ADDRESS'],
  [/12D3KooW[1-9A-HJ-NP-Za-km-z]{44}/g, 'NODE'],
  [/openim:[\w-]{90,}/g, 'INVITE'],
  [/openim-link:[\w-]{70,}/g, 'LINK'],
  [/\b\d{5} \d{5} \d{5} \d{5}\b/g, 'DIGITS'],
  [/"id":"[0-9a-f]{32}"/g, '"id":"MESSAGE"'],
  [/^[0-9a-f]{8}(?= +(?:from|to) )|(?<=\bsave )[0-9a-f]{8}\b/gm, 'ID'],
  [/\d{4}-\d\d-\d\dT[\d:.]+Z/g, 'TIME'],
  [/\b\d\d:\d\d\b/g, 'hh:mm'],
  [/"ms":\d+/g, '"ms":MS'],
  [/\b\d+(\.\d+)? ms\b/g, 'N ms'],
  // How far a message came at that moment is told truly, but not the same each time.
  [/"state":"(queued|stored)"/g, '"state":"WAITING"'],
  [/"stored":\{"have":\d,"want":\d\},"route":"\w+"/g, '"stored":STORED,"route":ROUTE'],
  [/is (queued|stored), not/g, 'is WAITING, not'],
  [/\/tcp\/[1-9]\d{4}\b/g, '/tcp/PORT'],
  [/\b\d+ records/g, 'N records'],
  [/127\.0\.0\.1:\d{4,}/g, '127.0.0.1:PORT'],
  [/pid \d+/g, 'pid PID'],
  [/\b\d+(\.\d+)? [kMGT]?B\b/g, 'SIZE'],
]

function normalised(text: string): string {
  return replacements.reduce((shown, [pattern, name]) => shown.replace(pattern, name), text)
}

/** The transcript in a file, and what really happens. */
export async function playFile(path: string, files: Readonly<Record<string, string>>): Promise<{
  readonly expected: string
  readonly actual: string
}> {
  const expected = await readFile(path, 'utf8')
  const run = await TranscriptRun.create(files)
  try {
    const actual = await run.play(expected)
    if (process.env['OPENIM_WRITE_TRANSCRIPTS'] === '1') await writeFile(path, actual)
    return { expected, actual }
  } finally {
    await run.close()
  }
}
