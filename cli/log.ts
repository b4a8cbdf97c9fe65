/**
 * The log of a running node, to stderr: JSON lines for a journal, plain lines for a person. pino
 * is loaded only for JSON; a person at a terminal needs no more than time, level and words.
 */
import { inspect } from 'node:util'
import type { Log } from '../node/ports.ts'
import { silentLog } from '../node/ports.ts'
import type { LogLevel } from '../node/config.ts'
import type { Clock } from '../protocol/ports.ts'
import { escapeText } from './escape.ts'
import type { Terminal } from './terminal.ts'

const ranks = { debug: 0, info: 1, warn: 2, error: 3 } as const
type Level = keyof typeof ranks

export async function createLog(level: LogLevel, to: { terminal: Terminal, clock: Clock }): Promise<Log> {
  const { terminal, clock } = to
  if (level === 'silent') return silentLog
  if (!terminal.watched) {
    const { pino } = await import('pino')
    const destination = pino.destination({ dest: 2, sync: true })
    const logger = pino({ level, base: { pid: process.pid } }, destination)
    const write = (at: Level) => (fields: object, message: string): void => logger[at](fields, message)
    return byLevel(write)
  }
  const write = (at: Level) => (fields: object, message: string): void => {
    if (ranks[at] < ranks[level]) return
    const time = new Date(clock.now()).toISOString().slice(11, 19)
    const values = Object.entries(fields).map(([key, value]) => `${key}=${short(value)}`).join(' ')
    terminal.streams.stderr.write(`${time} ${at.padEnd(5)} ${escapeText(message)} ${values}\n`)
  }
  return byLevel(write)
}

function byLevel(write: (level: Level) => (fields: object, message: string) => void): Log {
  return { debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error') }
}

function short(value: unknown): string {
  return escapeText(typeof value === 'string' ? value : inspect(value, { depth: 2, breakLength: Infinity }))
}
