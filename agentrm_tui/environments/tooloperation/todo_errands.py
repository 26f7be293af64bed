"""Questions about the to-do list and errands that change it, each a small program of calls."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any, NamedTuple

from agentrm_tui.environments.tooloperation.todo import PLACES, Job, Project, TodoList, TodoTools
from agentrm_tui.environments.tools import Draft, Plan
from agentrm_tui.environments.tools.answers import near

DONE = "done"
"""The answer to finish an errand with."""

YES_NO = ("yes", "no")
URGENT = 4


class Looked(NamedTuple):
    """A project and its tasks as the tools told them."""

    project: Project
    tasks: list[dict[str, Any]]


def look(data: TodoList, rng: Random, plan: Plan[TodoList]) -> Looked:
    """Ask for the projects, then for the tasks of one."""
    project = rng.choice(data.projects)
    plan.call(f"I need the id of {project.name}.", "get_projects")
    return Looked(project, plan.call(f"Now the tasks of {project.name}.", "get_tasks", project_id=project.id))


def look_for(data: TodoList, rng: Random, plan: Plan[TodoList]) -> tuple[Looked, Job]:
    """Look at a project and pick one of its open tasks, or any when all are completed."""
    looked = look(data, rng, plan)
    jobs = data.of(looked.project.id)
    return looked, rng.choice([job for job in jobs if not job.completed] or jobs)


def change(plan: Plan[TodoList], name: str, jobs: Sequence[Job], thought: str, **arguments: str) -> None:
    """Call a tool for each of some tasks."""
    for job in jobs:
        plan.call(thought.format(job.content), name, task_id=job.id, **arguments)


def errand(goal: str) -> Draft:
    """A goal that asks for changes only."""
    return Draft(f"{goal} Then finish with done.", DONE, "All is done.", (DONE,))


def how_many(data: TodoList, rng: Random, plan: Plan[TodoList]) -> Draft:
    """How many tasks, or open tasks, a project has."""
    project, tasks = look(data, rng, plan)
    kind = rng.choice(("", "open ", "completed "))
    found = sum(1 for task in tasks if not kind or task["is_completed"] == (kind == "completed "))
    goal = f"How many {kind}tasks does the project {project.name} have?"
    return Draft(goal, found, f"There are {found}.", tuple(range(4)))


def due_when(data: TodoList, rng: Random, plan: Plan[TodoList]) -> Draft:
    """When a task is due."""
    (project, tasks), job = look_for(data, rng, plan)
    goal = f"When is {job.content} of the project {project.name} due?"
    return Draft(goal, job.due, f"It is due on {job.due}.", tuple(task["due_date"] for task in tasks))


def is_there(data: TodoList, rng: Random, plan: Plan[TodoList]) -> Draft:
    """Whether a project has a task."""
    project, tasks = look(data, rng, plan)
    content = rng.choice([job.content for job in data.jobs])
    found = "yes" if content in [task["content"] for task in tasks] else "no"
    thought = "It is in the list." if found == "yes" else "It is not in the list."
    goal = f"Does the project {project.name} have a task {content}? Answer yes or no."
    return Draft(goal, found, thought, YES_NO)


def favourite(data: TodoList, rng: Random, plan: Plan[TodoList]) -> Draft:
    """Make a project a favourite, or no longer."""
    project = rng.choice(data.projects)
    wanted = not project.favourite
    plan.call(f"I need the id of {project.name}.", "get_projects")
    thought = f"{project.name} has the id {project.id}."
    plan.call(thought, "update_project", project_id=project.id, is_favorite=str(wanted))
    verb = "Make the project {} a favourite." if wanted else "Remove the project {} from the favourites."
    return errand(verb.format(project.name))


def complete_one(data: TodoList, rng: Random, plan: Plan[TodoList]) -> Draft | None:
    """Complete a named task."""
    (project, _), job = look_for(data, rng, plan)
    if job.completed:
        return None
    change(plan, "complete_task", [job], "{} is there.")
    return errand(f"Complete {job.content} of the project {project.name}.")


def delete_one(data: TodoList, rng: Random, plan: Plan[TodoList]) -> Draft:
    """Delete a named task."""
    (project, _), job = look_for(data, rng, plan)
    change(plan, "delete_task", [job], "{} is there.")
    return errand(f"Delete {job.content} of the project {project.name}.")


def duration(data: TodoList, rng: Random, plan: Plan[TodoList]) -> Draft:
    """How long a task takes."""
    (project, _), job = look_for(data, rng, plan)
    told = plan.call(f"Now how long {job.content} takes.", "get_task_duration", task_id=job.id)
    found = int(told["duration"].partition("(")[0])
    goal = f"How many minutes does {job.content} of the project {project.name} take?"
    return Draft(goal, found, f"It takes {found} minutes.", near(found, rng, step=5))


def place(data: TodoList, rng: Random, plan: Plan[TodoList]) -> Draft:
    """Where a task is to be done."""
    (project, _), job = look_for(data, rng, plan)
    plan.call(f"Now where {job.content} is.", "get_task_description", task_id=job.id)
    goal = f"In which place is {job.content} of the project {project.name} to be done?"
    return Draft(goal, job.place, f"The place is {job.place}.", PLACES)


def postpone(data: TodoList, rng: Random, plan: Plan[TodoList]) -> Draft | None:
    """Move a named task to a date."""
    (project, _), job = look_for(data, rng, plan)
    day = data.day(rng.randint(15, 30))
    change(plan, "update_task", [job], "{} is there.", due_date=day)
    return errand(f"Move {job.content} of the project {project.name} to {day}.")


def first_due(data: TodoList, rng: Random, plan: Plan[TodoList]) -> Draft | None:
    """Complete the task that is due first."""
    project, tasks = look(data, rng, plan)
    job = min(data.of(project.id), key=lambda job: job.due)
    if job.completed or not tasks:
        return None
    change(plan, "complete_task", [job], f"{{}} is due first, on {job.due}.")
    return errand(f"Complete the task of the project {project.name} that is due first.")


def highest_priority(data: TodoList, rng: Random, plan: Plan[TodoList]) -> Draft | None:
    """Which task has the highest priority."""
    project, tasks = look(data, rng, plan)
    best = max(task["priority"] for task in tasks)
    names = [task["content"] for task in tasks if task["priority"] == best]
    if len(names) > 1:
        return None
    goal = f"Which task of the project {project.name} has the highest priority number?"
    thought = f"{best} is the highest, for {names[0]}."
    return Draft(goal, names[0], thought, tuple(task["content"] for task in tasks))


def overdue(data: TodoList, rng: Random, plan: Plan[TodoList]) -> Draft | None:
    """Complete the open tasks that should have been done before today."""
    today = plan.call("I need today's date.", "get_user_current_date")
    project, _ = look(data, rng, plan)
    jobs = [job for job in data.of(project.id) if job.due < today and not job.completed]
    if not jobs:
        return None
    change(plan, "complete_task", jobs, "{} is overdue.")
    return errand(f"Complete every open task of the project {project.name} that was due before today.")


def delete_completed(data: TodoList, rng: Random, plan: Plan[TodoList]) -> Draft | None:
    """Delete what is completed."""
    project, _ = look(data, rng, plan)
    jobs = [job for job in data.of(project.id) if job.completed]
    if not jobs:
        return None
    change(plan, "delete_task", jobs, "{} is completed.")
    return errand(f"Delete every completed task of the project {project.name}.")


def postpone_urgent(data: TodoList, rng: Random, plan: Plan[TodoList]) -> Draft | None:
    """Move all tasks of a high priority to a date."""
    project, _ = look(data, rng, plan)
    jobs = [job for job in data.of(project.id) if job.priority >= URGENT - 1]
    if not jobs:
        return None
    day = data.day(rng.randint(15, 30))
    change(plan, "update_task", jobs, "{} has such a priority.", due_date=day)
    return errand(f"Move every task of the project {project.name} with priority {URGENT - 1} or {URGENT} to {day}.")


def longest(data: TodoList, rng: Random, plan: Plan[TodoList]) -> Draft | None:
    """Which task takes longest."""
    project, tasks = look(data, rng, plan)
    minutes = {}
    for task in tasks:
        told = plan.call(f"Now {task['content']}.", "get_task_duration", task_id=task["id"])
        minutes[task["content"]] = int(told["duration"].partition("(")[0])
    most = max(minutes.values())
    if list(minutes.values()).count(most) > 1:
        return None
    found = next(content for content, amount in minutes.items() if amount == most)
    goal = f"Which task of the project {project.name} takes longest?"
    return Draft(goal, found, f"{most} minutes for {found} is the most.", tuple(minutes))


def here(data: TodoList, rng: Random, plan: Plan[TodoList]) -> Draft | None:
    """Complete the open tasks that are to be done where the user is."""
    city = plan.call("I need the user's city.", "get_user_current_location")
    project, _ = look(data, rng, plan)
    jobs = [job for job in data.of(project.id) if not job.completed]
    for job in jobs:
        plan.call(f"Where is {job.content}?", "get_task_description", task_id=job.id)
    local = [job for job in jobs if job.place == city]
    if not local:
        return None
    change(plan, "complete_task", local, f"{{}} is in {city}.")
    return errand(f"Complete every open task of the project {project.name} whose place is the city I am in.")


def short_ones(data: TodoList, rng: Random, plan: Plan[TodoList]) -> Draft | None:
    """Complete the open tasks that take at most so many minutes."""
    project, _ = look(data, rng, plan)
    bound = rng.randint(6, 15) * 5
    jobs = [job for job in data.of(project.id) if not job.completed]
    for job in jobs:
        plan.call(f"How long does {job.content} take?", "get_task_duration", task_id=job.id)
    short = [job for job in jobs if job.minutes <= bound]
    if not short:
        return None
    change(plan, "complete_task", short, f"{{}} takes at most {bound} minutes.")
    return errand(f"Complete every open task of the project {project.name} that takes at most {bound} minutes.")


class TodoServer(TodoTools):
    """To-do tools with errands of three difficulties: one lookup or change, one more call, several of them."""

    templates = (
        (how_many, due_when, is_there, favourite, complete_one, delete_one),
        (duration, place, postpone, first_due, highest_priority, delete_completed),
        (overdue, postpone_urgent, longest, here, short_ones),
    )
