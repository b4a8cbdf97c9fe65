/**
 * `openim save`: fetches a file that was offered, checks it and writes it. It gets its name when
 * it is whole; what exists already is left alone unless `--force` says otherwise.
 */
import { stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { errorCode } from '../../crypto/errors.ts'
import type { CommandContext, CommandResult } from '../context.ts'
import { flag, withNode } from '../context.ts'
import { escapeText } from '../escape.ts'
import { exits } from '../exits.ts'
import { findFile } from '../file-id.ts'
import { fileShape } from '../json-shapes.ts'
import { goesOnText, watchTransfer } from '../transfer.ts'

export async function run(context: CommandContext): CommandResult {
  const { terminal, openim } = context
  const [given, wanted] = context.args as [string, string | undefined]
  return await withNode(context, async (node) => {
    const file = await findFile(node, given)
    const path = await targetOf(wanted, file.name)
    const overwrite = flag(context, 'force')
    const begin = () => node.call('saveFile', { id: file.id, path, overwrite })
    const saved = await watchTransfer(context, node, begin)
    if (saved === undefined) {
      terminal.say(goesOnText(openim, file.id))
      return exits.interrupted
    }
    if (terminal.json) await terminal.value(fileShape(saved))
    else await terminal.data(escapeText(saved.savedAs ?? path))
    return exits.ok
  })
}

/** Into a directory under the name it came with, or exactly there. The node knows no relative paths. */
async function targetOf(wanted: string | undefined, name: string): Promise<string> {
  if (wanted === undefined) return resolve(name)
  const path = resolve(wanted)
  if (wanted.endsWith('/')) return join(path, name)
  try {
    return (await stat(path)).isDirectory() ? join(path, name) : path
  } catch (error) {
    // Whatever else is wrong with it the node says when it writes there.
    if (errorCode(error) === undefined) throw error
    return path
  }
}
