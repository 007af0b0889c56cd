"""The methods of `Client` that are generated from the contracts."""

from somamesh.connection import Connection
from somamesh.generated import (
    auth_service,
    catalog_service,
    chat_session_service,
    cost_service,
    event_service,
    log_service,
    media_service,
    memory_service,
    model_service,
    policy_service,
    response_service,
    role_service,
    service_account_service,
    tenant_service,
    user_service,
)
from somamesh.sync_methods import calling, following, listing


class Methods(Connection):
    """The methods of `Client` that are generated from the contracts."""

    get_jwks = calling(auth_service.get_jwks)
    login = calling(auth_service.login)
    logout = calling(auth_service.logout)
    refresh = calling(auth_service.refresh)
    verify = calling(auth_service.verify)
    list_models = calling(catalog_service.list_models)
    list_repository_models = calling(catalog_service.list_repository_models)
    load_model = calling(catalog_service.load_model)
    unload_model = calling(catalog_service.unload_model)
    create_session = calling(chat_session_service.create_session)
    delete_session = calling(chat_session_service.delete_session)
    get_session = calling(chat_session_service.get_session)
    get_session_stats = calling(chat_session_service.get_session_stats)
    list_session_messages = listing(chat_session_service.list_session_messages)
    list_session_models = calling(chat_session_service.list_session_models)
    list_session_templates = calling(chat_session_service.list_session_templates)
    list_sessions = listing(chat_session_service.list_sessions)
    send_session_message = calling(chat_session_service.send_session_message)
    set_session_status = calling(chat_session_service.set_session_status)
    list_usage = listing(cost_service.list_usage)
    list_dead_letters = listing(event_service.list_dead_letters)
    list_event_streams = calling(event_service.list_event_streams)
    replay_dead_letter = calling(event_service.replay_dead_letter)
    list_logs = listing(log_service.list_logs)
    tail_logs = following(log_service.tail_logs)
    edit_image = following(media_service.edit_image)
    generate_image = following(media_service.generate_image)
    speak = following(media_service.speak)
    transcribe = following(media_service.transcribe)
    translate = calling(media_service.translate)
    delete_conversation = calling(memory_service.delete_conversation)
    forget = calling(memory_service.forget)
    get_context = calling(memory_service.get_context)
    get_media = calling(memory_service.get_media)
    list_conversations = listing(memory_service.list_conversations)
    list_memories = listing(memory_service.list_memories)
    list_messages = listing(memory_service.list_messages)
    recall = calling(memory_service.recall)
    remember = calling(memory_service.remember)
    retrieve = calling(memory_service.retrieve)
    embed = calling(model_service.embed)
    infer = calling(model_service.infer)
    moderate = calling(model_service.moderate)
    rerank = calling(model_service.rerank)
    evaluate_policy = calling(policy_service.evaluate_policy)
    cancel_response = calling(response_service.cancel_response)
    compact_response = calling(response_service.compact_response)
    count_response_tokens = calling(response_service.count_response_tokens)
    delete_response = calling(response_service.delete_response)
    get_response = calling(response_service.get_response)
    list_response_inputs = listing(response_service.list_response_inputs)
    delete_role = calling(role_service.delete_role)
    list_roles = calling(role_service.list_roles)
    set_role = calling(role_service.set_role)
    create_service_account = calling(service_account_service.create_service_account)
    get_service_account = calling(service_account_service.get_service_account)
    list_service_accounts = listing(service_account_service.list_service_accounts)
    revoke_api_key = calling(service_account_service.revoke_api_key)
    revoke_service_account = calling(service_account_service.revoke_service_account)
    rotate_service_account_key = calling(service_account_service.rotate_service_account_key)
    create_tenant = calling(tenant_service.create_tenant)
    get_tenant = calling(tenant_service.get_tenant)
    list_tenants = listing(tenant_service.list_tenants)
    update_tenant = calling(tenant_service.update_tenant)
    change_password = calling(user_service.change_password)
    create_user = calling(user_service.create_user)
    delete_user = calling(user_service.delete_user)
    get_user = calling(user_service.get_user)
    list_users = listing(user_service.list_users)
    reset_password = calling(user_service.reset_password)
    update_user = calling(user_service.update_user)
